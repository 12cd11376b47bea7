"""model.files: only regular files are opened, and files appear whole."""

import os
import socket
from pathlib import Path

import pytest

from model.files import (
    AtomicAppend,
    NotRegularError,
    atomic_write,
    final_path,
    is_same_file,
    locked_temp_file,
    name_part,
    open_descriptor,
    read_file,
    temp_path,
    write_file,
)


def make_socket(path: Path) -> None:
    """Leave a socket's name."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


ODD = {
    "a FIFO": os.mkfifo,
    "a folder": os.mkdir,
    "a socket": make_socket,
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_regular_file_is_refused(tmp_path, monkeypatch, kind):
    """For reading and writing, in words; nothing waits for the other side."""
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    path = Path("odd")
    ODD[kind](path)
    for use in (lambda: read_file(path), lambda: write_file(path, b"x"), lambda: open_descriptor(path, os.O_RDWR)):
        with pytest.raises(NotRegularError, match=f"no regular file but {kind}: 'odd'"):
            use()


def test_what_comes_between_the_look_and_the_opening_is_refused(tmp_path, monkeypatch):
    """The file that is open is looked at, and not only its name."""
    os.mkfifo(tmp_path / "odd")
    before = len(os.listdir("/proc/self/fd"))

    def nothing(*_: object) -> None:
        raise FileNotFoundError

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", nothing)
        with pytest.raises(NotRegularError):
            read_file(tmp_path / "odd")
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_are_made_read_and_replaced(tmp_path):
    """Through links too; what is not there raises as open() does."""
    (tmp_path / "link").symlink_to("file")
    write_file(tmp_path / "link", b"one two")
    write_file(tmp_path / "file", b"one")
    assert read_file(tmp_path / "link") == b"one"
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "none")


def test_a_removed_file_is_another(tmp_path):
    """Removed, replaced, or gone with its folder."""
    path = tmp_path / "folder/file"
    path.parent.mkdir()
    path.write_text("")
    with path.open() as file:
        assert is_same_file(path, file.fileno())
        path.rename(tmp_path / "away")
        assert not is_same_file(path, file.fileno())
        path.write_text("")
        assert not is_same_file(path, file.fileno())


def files(base: Path) -> list[str]:
    return sorted(path.name for path in base.rglob("*") if path.is_file())


def test_a_name_and_its_hidden_name_belong_together(tmp_path):
    """What is recovered gets the name it was meant to have."""
    path = tmp_path / "a.b.gz"
    assert temp_path(path).name == ".a.b.gz.part"
    assert final_path(temp_path(path)) == path


@pytest.mark.parametrize(
    ("symbol", "part"),
    [("BTC-26DEC25", "BTC-26DEC25"), ("币安人生USDT", "币安人生USDT"), ("กำไรUSDT", "กำไรUSDT"), ("../a b", ".._a_b")],
)
def test_a_symbol_is_part_of_a_name_as_it_is(symbol, part):
    """Two that differ have two files; what is no symbol leads nowhere else."""
    assert name_part(symbol) == part


def test_what_fails_half_way_leaves_nothing(tmp_path):
    """Whatever was raised: no file, not even a hidden one."""

    def half(temp: Path) -> None:
        temp.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atomic_write(tmp_path / "x" / "a", half)
    assert files(tmp_path) == []
    assert atomic_write(tmp_path / "x" / "a", lambda temp: write_file(temp, b"12", b"345")) == 5
    assert files(tmp_path) == ["a"]


def test_half_a_block_is_taken_back(tmp_path, monkeypatch):
    """A full disk between two bytes of a block: the block is not there, and may be written again."""
    file, real = AtomicAppend(tmp_path / "a"), os.write
    file.append(b"first")

    def full_after_two(descriptor: int, data: memoryview) -> int:
        if len(data) < 6:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:2])

    monkeypatch.setattr(os, "write", full_after_two)
    with pytest.raises(OSError, match="No space"):
        file.append(b"second")
    assert temp_path(file.path).read_bytes() == b"first"
    monkeypatch.setattr(os, "write", real)
    file.append(b"second")
    assert files(tmp_path) == [".a.part"]
    file.finish()
    assert (tmp_path / "a").read_bytes() == b"firstsecond"
    assert files(tmp_path) == ["a"]


def test_an_empty_file_never_appears(tmp_path):
    """An hour without a payload is no file."""
    AtomicAppend(tmp_path / "a").finish()
    assert files(tmp_path) == []


def test_a_file_that_is_being_written_is_not_recovered(tmp_path):
    """Two processes in one folder: the lock distinguishes a crash's file from one that is written."""
    file = AtomicAppend(tmp_path / "a")
    with locked_temp_file(temp_path(file.path)) as is_free:
        assert not is_free
    file.close()
    with locked_temp_file(temp_path(file.path)) as is_free:
        assert is_free
