"""Checks of this machine: room and rights on its disk, the port of the web server, open files. Each may block."""

import contextlib
import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.alerts.disks import LEAST_BYTES
from app.descriptors import allowed_descriptors, remedy_for, wanted_descriptors
from app.doctor.findings import Finding, ok, warning, wrong

GB = 10**9
MAIN = Path(__file__).resolve().parents[2] / "main.py"
LISTENING = "0A"  # of /proc/net/tcp


# -- disk -----------------------------------------------------------------------------------------------------------


def check_disk(folders: Mapping[str, Path], room_bytes: int = LEAST_BYTES) -> list[Finding]:
    """Look at the room and the rights of folders, or of those in which they would be made. Leaves no file."""
    by_disk: dict[int, tuple[str, int]] = {}
    findings = []
    for name, folder in folders.items():
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
        try:
            with tempfile.TemporaryFile(dir=nearest) as file:
                file.write(b"x")
                file.flush()
            free = shutil.disk_usage(nearest).free
        except OSError as error:
            text = f"{name}={folder} cannot be written to: {error.strerror}"
            findings.append(wrong(text, _cure_of(error, name, nearest)))
            continue
        if free < room_bytes:
            cure = f"make room, at least {room_bytes / GB:g} GB, or name a folder on another disk"
            findings.append(wrong(f"{name}={folder}: {free / GB:.2f} GB are free", cure))
        by_disk.setdefault(nearest.stat().st_dev, (str(nearest), free))
    if findings or not folders:
        return findings or [ok("nothing is written to disk")]
    return [ok(", ".join(f"{free / GB:.0f} GB free at {place}" for place, free in by_disk.values()))]


def _cure_of(error: OSError, name: str, nearest: Path) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"let this user write there (chown {os.getuid()} {nearest}), or name another folder in {name}"
    if error.errno == errno.EROFS:
        return f"the file system is read-only: mount a volume there, or name another folder in {name}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"make room, of files (df -i) too, or name a folder on another disk in {name}"
    if error.errno == errno.ENOTDIR:
        return f"{nearest} is a file: name a folder in {name}"
    return f"name another folder in {name}"


# -- port -----------------------------------------------------------------------------------------------------------


def check_port(host: str, port: int, *, is_named: bool) -> Finding:
    """Try whether the web server can listen; `is_named`: on this port and no other."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, number, _, address in addresses:
            with socket.socket(family, kind, number) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        return _judge_port(error, host, port, is_named=is_named)
    return ok(f"{host}:{port} is free")


def _judge_port(error: OSError, host: str, port: int, *, is_named: bool) -> Finding:
    if error.errno == errno.EADDRINUSE:
        owner = owner_of(port)
        text = f"{host}:{port} is taken" + (f" by {owner}" if owner else "")
        if is_named and owner and owner.is_ours:
            cure = "nothing, where that is the collector with these settings; else set another WEBSOCKET_PORT"
            return warning(f"{text}, a collector of this folder", cure)
        if is_named:
            find = "" if owner else f" (who has it: ss -ltnp 'sport = :{port}')"
            return wrong(text, f"end that, or set another WEBSOCKET_PORT{find}")
        return ok(f"{text}: the collector takes the next free one")
    if error.errno == errno.EACCES:
        return wrong(f"{host}:{port}: ports below 1024 need a right", "set a WEBSOCKET_PORT above 1023")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        cure = "set WEBSOCKET_HOST to 127.0.0.1, to 0.0.0.0, or to an address that `ip addr` shows"
        return wrong(f"{host} is no address of this machine", cure)
    return wrong(f"{host}:{port} cannot be listened on: {error.strerror}", "set WEBSOCKET_HOST and WEBSOCKET_PORT")


@dataclass(frozen=True)
class Owner:
    """A process that listens. `is_ours`: it runs this main.py in the working directory of this one."""

    pid: str
    command: str
    is_ours: bool

    def __str__(self) -> str:
        """For the list."""
        return f"process {self.pid}, {self.command}"


def owner_of(port: int, proc: Path = Path("/proc")) -> Owner | None:
    """The process that listens on a port, as far as this user may see; None elsewhere, or where it may not."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    for folder in proc.glob("[0-9]*") if sockets else ():
        if sockets & set(_open_files(folder)):
            with contextlib.suppress(OSError):  # it has ended
                words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
                place = Path(os.readlink(folder / "cwd"))
                is_ours = place == Path.cwd() and any((place / word).resolve() == MAIN for word in words)
                return Owner(folder.name, " ".join(words), is_ours)
    return None


def _listening(port: int, proc: Path) -> Iterator[str]:
    """Yield the inodes of sockets that listen on a port."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:  # no Linux
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _open_files(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):  # another user's, or it has ended
        for link in os.listdir(folder / "fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(folder / "fd" / link)


# -- open files -----------------------------------------------------------------------------------------------------


def check_open_files(connections: int, clients: int) -> Finding:
    """Hold the limit of open files against the connections and clients of the plan."""
    least, wanted = wanted_descriptors(connections, 0), wanted_descriptors(connections, clients)
    limit = allowed_descriptors()
    plan = f"{connections} connections" + (f" and {clients} clients" if clients else "")
    text = f"{limit} are allowed, {wanted} are wanted for {plan}"
    if limit < least:
        return wrong(f"{text}: some streams would wait", remedy_for(wanted))
    if limit < wanted:
        return warning(f"{text}: fewer clients are let in", remedy_for(wanted))
    return ok(text)
