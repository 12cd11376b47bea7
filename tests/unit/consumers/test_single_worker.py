"""Jobs beside the way of the messages: a disk that hangs costs the files, and nothing else."""

import threading
from pathlib import Path

from consumers.redis.checkpoint.store import CheckpointOptions, KlineCheckpoint
from consumers.single_worker import SingleWorker
from tests.support.klines import klines
from tests.support.waiting import wait_until


def test_one_job_at_a_time_and_what_raises_ends_nothing() -> None:
    """The worker is free again after each, whatever came of it."""
    done: list[str] = []
    worker = SingleWorker("test-files")
    worker.start()

    def fail() -> None:
        raise OSError("a bad sector")

    worker.do(fail)
    assert worker.wait(5)
    worker.do(lambda: done.append(threading.current_thread().name))
    assert worker.wait(5)
    assert done == ["test-files"]


def test_a_disk_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """Neither while running nor at the end; what was published meanwhile is written once it answers."""
    may_write = threading.Event()
    path = tmp_path / "published.json"
    worker = SingleWorker("test-files")
    worker.start()
    worker.do(lambda: may_write.wait(10))
    checkpoint = KlineCheckpoint(CheckpointOptions("p", path, disk_wait_s=0.01), worker)
    for number in range(3):
        checkpoint.confirm(checkpoint.stage(klines(number).json))
        checkpoint.save_if_due(100.0 + 10 * number, 0)
    checkpoint.save()
    assert not path.exists()
    may_write.set()

    def is_newest() -> bool:
        checkpoint.save_if_due(200.0, 0)
        return path.exists() and str(klines(2).data[0].timestamp).encode() in path.read_bytes()

    wait_until(is_newest)
