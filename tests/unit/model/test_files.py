"""Only regular files are opened, and nothing waits for anything else."""

import os
import socket
from pathlib import Path

import pytest

from model.files import NotRegularError, is_same_file, open_descriptor, read_file, write_file


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
    monkeypatch.setattr("model.files.check_regular", lambda _path: None)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotRegularError):
        read_file(tmp_path / "odd")
    assert len(os.listdir("/proc/self/fd")) == before


def test_files_are_made_read_and_replaced(tmp_path):
    """Through links too; what is not there is said as by open()."""
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
