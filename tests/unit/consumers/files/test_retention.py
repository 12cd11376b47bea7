"""Which files stay."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consumers.files.retention import CLEANUP_EVERY_S, Retention

NOW = datetime(2026, 1, 12, 15, 30, tzinfo=UTC)
NAME = r"(?P<exchange>[^/]+)/(?P<time>\d{8}_\d{2})(?P<market>[^/.]*)\.x"
OWNERS = [("a", ""), ("b", "")]
FORMAT = "%Y%m%d_%H"


def put(base: Path, hour: int, size: int = 10, folder: str = "a") -> str:
    path = base / folder / f"20260112_{hour:02}.x"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    return path.name


def names(base: Path) -> list[str]:
    return sorted(path.name for path in base.rglob("*.x"))


def keeper(base: Path, **keeping: float) -> Retention:
    return Retention(base, NAME, FORMAT, OWNERS, **keeping, span=timedelta(hours=1))


def test_a_file_stays_until_its_last_row_is_over_its_time(tmp_path):
    """An hour's file is begun an hour before it is ended."""
    for hour in range(8, 16):
        put(tmp_path, hour)
    keeper(tmp_path, hours=4).clean(NOW)
    assert names(tmp_path) == [f"20260112_{hour:02}.x" for hour in range(11, 16)]


def test_the_oldest_go_first_wherever_they_are(tmp_path):
    """By time, not by folder."""
    for hour in range(8):
        put(tmp_path, hour, folder="b" if hour % 2 else "a")
    made = keeper(tmp_path, max_gb=35 / 1e9)
    made.clean(NOW)
    assert names(tmp_path) == [f"20260112_{hour:02}.x" for hour in (5, 6, 7)]
    assert made.removed == 5


def test_neither_limit_keeps_everything(tmp_path):
    """0 and 0."""
    put(tmp_path, 0)
    keeper(tmp_path).clean(NOW)
    assert names(tmp_path)


def test_only_an_owners_files_go(tmp_path):
    """Neither another exchange's nor another market's, by age or by size; links lead to what somebody else keeps."""
    theirs = [put(tmp_path, 1, folder="c"), put(tmp_path, 2)]
    (tmp_path / "a" / theirs[1]).rename(tmp_path / "a/20260112_02_spot.x")
    (tmp_path / "kept").write_bytes(b"x" * 100)
    (tmp_path / "a/20260112_03.x").symlink_to(tmp_path / "kept")
    (tmp_path / "a/20260112_04.x").mkdir()
    put(tmp_path, 5)
    made = keeper(tmp_path, hours=1, max_gb=1 / 1e9)
    made.clean(NOW)
    assert made.removed == 1
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "20260112_02_spot.x",
        "20260112_03.x",
        "20260112_04.x",
    ]
    assert (tmp_path / "c" / theirs[0]).exists()
    made.own("c", "")
    made.clean(NOW)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("link", ["b", "a/2026"])
def test_a_linked_folder_is_somebody_elses(tmp_path, link):
    """Whatever its files are called; the folder of all may be a link."""
    put(tmp_path, 1, folder="kept")
    (tmp_path / "a").mkdir()
    (tmp_path / link).symlink_to(tmp_path / "kept")
    keeper(tmp_path, hours=1).clean(NOW)
    assert names(tmp_path / "kept")
    put(tmp_path, 1)
    (tmp_path / "base").symlink_to(tmp_path)
    made = keeper(tmp_path / "base", hours=1)
    made.clean(NOW)
    assert (made.removed, names(tmp_path / "kept")) == (1, ["20260112_01.x"])


def test_what_grows_too_large_is_cleaned_at_once(tmp_path):
    """Looking through every folder is for every five minutes, unless there is a reason."""
    made = keeper(tmp_path, max_gb=25 / 1e9)
    made.tick(0.0, NOW)
    for hour in range(3):
        put(tmp_path, hour)
    made.tick(1.0, NOW)
    assert len(names(tmp_path)) == 3, "the size is not known yet"
    made.wrote(30)
    made.tick(2.0, NOW)
    assert len(names(tmp_path)) == 2
    put(tmp_path, 3)
    made.tick(CLEANUP_EVERY_S + 3, NOW)
    assert names(tmp_path) == ["20260112_02.x", "20260112_03.x"]


def test_a_file_that_cannot_be_removed_keeps_no_other(tmp_path, monkeypatch):
    """One odd permission is no reason to fill the disk."""
    stuck, real = put(tmp_path, 1), Path.unlink
    put(tmp_path, 2)

    def unlink(self: Path) -> None:
        if self.name == stuck:
            raise PermissionError
        real(self)

    monkeypatch.setattr(Path, "unlink", unlink)
    keeper(tmp_path, hours=1).clean(NOW)
    assert names(tmp_path) == [stuck]


def test_limits_below_nothing_are_mistakes(tmp_path):
    """Named as the settings are."""
    with pytest.raises(ValueError, match="A_MAX_GB: must be 0"):
        keeper(tmp_path, hours=1, max_gb=-1).validate("A", "A_PATH")
