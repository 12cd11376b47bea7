"""Files that are whole or not there."""

import os
from pathlib import Path

import pytest

from consumers.files import atomic
from consumers.files.atomic import Abandoned, Growing, aside_of, make_whole, named_of, write_whole


def files(base: Path) -> list[str]:
    return sorted(path.name for path in base.rglob("*") if path.is_file())


def test_a_name_and_its_hidden_name_belong_together(tmp_path):
    """What is recovered gets the name it was meant to have."""
    path = tmp_path / "a.b.gz"
    assert aside_of(path).name == ".a.b.gz.part"
    assert named_of(aside_of(path)) == path


@pytest.mark.parametrize(
    ("symbol", "part"),
    [("BTC-26DEC25", "BTC-26DEC25"), ("币安人生USDT", "币安人生USDT"), ("กำไรUSDT", "กำไรUSDT"), ("../a b", ".._a_b")],
)
def test_a_symbol_is_part_of_a_name_as_it_is(symbol, part):
    """Two that differ have two files; what is no symbol leads nowhere else."""
    assert atomic.name_part(symbol) == part


def test_what_fails_half_way_leaves_nothing(tmp_path):
    """Whatever was raised: no file, not even a hidden one."""

    def half(aside: Path) -> None:
        aside.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_whole(tmp_path / "x" / "a", half)
    assert files(tmp_path) == []
    assert write_whole(tmp_path / "x" / "a", [b"12", b"345"]) == 5
    assert files(tmp_path) == ["a"]


def test_half_a_block_is_taken_back(tmp_path, monkeypatch):
    """A full disk between two bytes of a block: the block is not there, and may be written again."""
    file, real = Growing(tmp_path / "a"), os.write
    file.append(b"first")

    def full_after_two(descriptor: int, data: memoryview) -> int:
        if len(data) < 6:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:2])

    monkeypatch.setattr(atomic.os, "write", full_after_two)
    with pytest.raises(OSError, match="No space"):
        file.append(b"second")
    assert aside_of(file.path).read_bytes() == b"first"
    monkeypatch.setattr(atomic.os, "write", real)
    file.append(b"second")
    assert files(tmp_path) == [".a.part"]
    file.finish()
    assert (tmp_path / "a").read_bytes() == b"firstsecond"
    assert files(tmp_path) == ["a"]


def test_an_empty_file_never_appears(tmp_path):
    """An hour without a payload is no file."""
    Growing(tmp_path / "a").finish()
    assert files(tmp_path) == []


def test_a_living_file_is_nobodys_to_take_over(tmp_path):
    """Two processes in one folder: the lock tells a crash's file from one that is written."""
    file = Growing(tmp_path / "a")
    with Abandoned(aside_of(file.path)) as held:
        assert not held.is_free
    file.close()
    with Abandoned(aside_of(file.path)) as held:
        assert held.is_free
