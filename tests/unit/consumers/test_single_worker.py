"""Files beside the way of the messages: a disk that hangs costs the files, and nothing else."""

import threading

from consumers.redis.checkpoint.store import PublishedMemory, PublishedOptions
from consumers.single_worker import DiskThread
from tests.support.klines import klines
from tests.support.waiting import wait_until


def test_one_job_at_a_time_and_what_raises_ends_nothing():
    """It is free again after each, whatever came of it."""
    done: list[str] = []
    disk = DiskThread("test-files")
    disk.start()

    def fail() -> None:
        raise OSError("a bad sector")

    disk.do(fail)
    assert disk.wait(5)
    disk.do(lambda: done.append(threading.current_thread().name))
    assert disk.wait(5)
    assert done == ["test-files"]


def test_a_disk_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    """Neither while running nor at the end; what was published meanwhile is written once it answers."""
    monkeypatch.setattr("consumers.redis.checkpoint.store.DISK_WAIT_S", 0.01)
    may_write = threading.Event()
    path = tmp_path / "published.json"
    disk = DiskThread("test-files")
    disk.start()
    memory = PublishedMemory(PublishedOptions("p", path), disk)
    write = memory.file.write
    monkeypatch.setattr(memory.file, "write", lambda content: (may_write.wait(10), write(content)))
    for number in range(3):
        memory.confirm(memory.note(klines(number).json))
        memory.save_if_due(100.0 + 10 * number, 0)
    memory.save()
    assert not path.exists()
    may_write.set()

    def is_newest() -> bool:
        memory.save_if_due(200.0, 0)
        return path.exists() and str(klines(2).data[0].timestamp).encode() in path.read_bytes()

    wait_until(is_newest)
