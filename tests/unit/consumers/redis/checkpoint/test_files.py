"""A file with one writer."""

import os
import shutil

import pytest

from consumers.redis.checkpoint.files import StateFile
from consumers.redis.checkpoint.store import PublishedMemory, PublishedOptions
from tests.support.klines import klines


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "published.json"


def test_a_claimed_file_is_written(path):
    """The folder is made where it is not there."""
    file = StateFile(path)
    assert file.claim()
    file.write(b"{}")
    assert path.read_bytes() == b"{}"
    file.release()


def test_the_second_one_writes_nothing(path):
    """Else each would forget what the other wrote."""
    first, second = StateFile(path), StateFile(path)
    assert first.claim()
    first.write(b"first")
    assert not second.claim()
    second.write(b"second")
    assert (second.is_written, path.read_bytes()) == (False, b"first")
    first.release()


def test_a_released_file_may_be_claimed(path):
    """By the next run."""
    first, second = StateFile(path), StateFile(path)
    first.claim()
    first.release()
    assert second.claim()
    second.release()


def test_claiming_twice_is_claiming_once(path):
    """Its own lock is not in its way."""
    file = StateFile(path)
    assert file.claim()
    assert file.claim()
    file.release()


def test_a_removed_folder_is_claimed_anew(path):
    """Its lock went with it: whoever came meanwhile is the writer now."""
    first, second = StateFile(path), StateFile(path)
    first.claim()
    shutil.rmtree(path.parent)
    first.write(b"first")
    assert path.read_bytes() == b"first"
    assert not second.claim()
    shutil.rmtree(path.parent)
    third = StateFile(path)
    assert third.claim()
    first.write(b"second")
    assert (first.is_written, path.exists()) == (False, False)
    third.release()


def test_a_folder_that_something_else_stands_in_for_is_claimed_when_it_is_back(path):
    """A file in its place, or a link to itself, is a disk that refuses; the lock is not forgotten over it."""
    first, second = StateFile(path), StateFile(path)
    first.claim()
    shutil.rmtree(path.parent)
    for replace in (path.parent.touch, lambda: path.parent.symlink_to(path.parent.name)):
        replace()
        with pytest.raises(OSError, match=path.parent.name):
            first.write(b"first")
        path.parent.unlink()
    first.write(b"first")
    assert path.read_bytes() == b"first"
    assert not second.claim()
    first.release()


@pytest.mark.parametrize("name", [".published.json.part", ".published.json.lock"])
def test_what_is_no_file_is_not_written_to(path, name):
    """A FIFO in its way is a disk that refuses."""
    path.parent.mkdir()
    os.mkfifo(path.parent / name)
    file = StateFile(path)
    assert file.claim()
    if name.endswith("part"):
        with pytest.raises(OSError, match="no regular file"):
            file.write(b"{}")
    else:
        file.write(b"{}")
        assert path.read_bytes() == b"{}"
    file.release()


def test_no_path_is_no_file():
    """Nothing to claim, nothing to write."""
    file = StateFile(None)
    assert file.claim()
    file.write(b"{}")
    assert not file.is_written


def test_a_memory_whose_file_is_taken_remembers_in_redis_alone(path):
    """It goes on, and leaves the other's files as they are."""
    one, other = (PublishedMemory(PublishedOptions("bybit-streamer", path)) for _ in range(2))
    one.claim()
    other.claim()
    other.confirm(other.note(klines(1).json))
    other.save()
    assert not path.exists()
    assert not path.with_suffix(".recent.jsonl").exists()
    assert len(other.known()) == 1
    one.file.release()
