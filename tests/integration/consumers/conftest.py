"""Redis publishers that are always ended, and a small disk."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.redis.options import RedisOptions
from consumers.redis.standalone import RedisPublisher
from model.events import NO_EVENTS, EventSink


@pytest.fixture
def publisher() -> Iterator[Callable[..., RedisPublisher]]:
    """Start a publisher with the given options; ends it whatever happens. Comes back quickly, for the test's sake."""
    started: list[RedisPublisher] = []

    def start(url: str, events: EventSink = NO_EVENTS, **options: object) -> RedisPublisher:
        one = RedisPublisher(RedisOptions(url, **({"backoff_cap_s": 0.2} | options)), events)  # type: ignore[arg-type]
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.begin_stop(time.monotonic() + 2)
        one.join(time.monotonic() + 4)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte; mounting needs rights that a user hardly has."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    disk = Path(tempfile.mkdtemp(prefix="small-disk-"))  # not below tmp_path, which must go whatever happens
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        disk.rmdir()
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
    disk.rmdir()
