"""This machine: disk, port, open files."""

import errno
import os
import resource
import shutil
import tempfile

import pytest

from app.doctor.findings import State
from app.doctor.machine import MAIN, check_disk, check_open_files, owner_of

GB = 10**9


def test_a_folder_that_can_be_made_is_right_and_is_not_made(tmp_path):
    """Nothing stays behind."""
    (finding,) = check_disk({"RAW_RECORD_PATH": tmp_path / "a" / "b"}, room_bytes=1)
    assert finding.state is State.OK
    assert str(tmp_path) in finding.text
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_fails(tmp_path, monkeypatch):
    """Below one gigabyte, with the figure and the setting."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10 * GB, 9 * GB, int(0.5 * GB)))
    (finding,) = check_disk({"PARQUET_PATH": tmp_path})
    assert finding.state is State.FAILED
    assert finding.text == f"PARQUET_PATH={tmp_path}: 0.50 GB are free"
    assert "make room" in finding.cure


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EACCES, f"chown {os.getuid()}"),
        (errno.EROFS, "mount a volume"),
        (errno.ENOSPC, "make room"),
        (errno.EIO, "name another folder in RAW_RECORD_PATH"),
    ],
)
def test_a_folder_that_cannot_be_written_to_fails(tmp_path, monkeypatch, number, cure):
    """Each reason has its own cure."""

    def refuse(**_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    (finding,) = check_disk({"RAW_RECORD_PATH": tmp_path})
    assert finding.state is State.FAILED
    assert finding.text == f"RAW_RECORD_PATH={tmp_path} cannot be written to: {os.strerror(number)}"
    assert cure in finding.cure


def test_a_file_in_the_place_of_a_folder_fails(tmp_path):
    """By the system's own answer."""
    (tmp_path / "taken").touch()
    (finding,) = check_disk({"RAW_RECORD_PATH": tmp_path / "taken" / "raw"})
    assert finding.state is State.FAILED
    assert finding.cure == f"{tmp_path / 'taken'} is a file: name a folder in RAW_RECORD_PATH"


def test_nothing_to_write_needs_no_disk():
    """A collector of a websocket output alone."""
    assert check_disk({})[0].state is State.OK


@pytest.mark.parametrize(
    ("hard", "connections", "clients", "state"),
    [(1_024, 16, 0, State.OK), (256, 16, 1_000, State.WARNING), (90, 40, 0, State.FAILED)],
)
def test_the_plan_must_fit_the_limit_of_open_files(monkeypatch, hard, connections, clients, state):
    """The hard limit: the collector raises the soft one itself. Streams come first."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (64, hard))
    finding = check_open_files(connections, clients)
    assert finding.state is state
    assert f"{hard} are allowed" in finding.text
    assert ("ulimit -n" in finding.cure) is (state is not State.OK)


def test_no_limit_of_open_files_is_enough(monkeypatch):
    """RLIM_INFINITY is -1."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (64, resource.RLIM_INFINITY))
    assert check_open_files(10_000, 0).state is State.OK


def test_the_owner_of_a_port_is_found_where_it_may_be_seen(tmp_path):
    """Other users' processes are not."""
    (tmp_path / "net").mkdir()
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   0: 0100007F:251C 00000000:0000 {} 00000000:00000000 00:00000000 00000000  1000        0 {}\n"
    (tmp_path / "net" / "tcp").write_text(head + row.format("0A", 777) + row.format("01", 778))
    files = tmp_path / "123" / "fd"
    files.mkdir(parents=True)
    (tmp_path / "self").mkdir()
    (tmp_path / "456").mkdir()  # another user's: its files cannot be read
    (tmp_path / "123" / "cmdline").write_bytes(b"python\0main.py\0")
    (tmp_path / "123" / "cwd").symlink_to("/")
    (files / "3").symlink_to("socket:[778]")
    assert owner_of(0x251C, tmp_path) is None
    (files / "4").symlink_to("socket:[777]")
    owner = owner_of(0x251C, tmp_path)
    assert str(owner) == "process 123, python main.py"
    assert owner is not None
    assert not owner.is_ours  # another main.py
    assert owner_of(0x251D, tmp_path) is None
    assert owner_of(0x251C, tmp_path / "none") is None


@pytest.mark.parametrize(("command", "is_ours"), [(f"python\0{MAIN}\0run\0", True), ("python\0other.py\0", False)])
def test_a_collector_of_this_folder_is_known_as_such(tmp_path, monkeypatch, command, is_ours):
    """Who asks beside a running collector is not told that its own port is a fault."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    row = "   0: 0100007F:251C 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 777\n"
    (tmp_path / "net" / "tcp6").write_text("head\n" + row)
    (tmp_path / "1" / "fd").mkdir(parents=True)
    (tmp_path / "1" / "fd" / "4").symlink_to("socket:[777]")
    (tmp_path / "1" / "cmdline").write_text(command)
    (tmp_path / "1" / "cwd").symlink_to(tmp_path)
    owner = owner_of(0x251C, tmp_path)
    assert owner is not None
    assert owner.is_ours is is_ours
