"""Trade ids seen lately."""

from aggregation import dedupe
from aggregation.dedupe import RecentIds


def test_second_delivery_is_found_by_position():
    """In a later batch as in the same one."""
    recent = RecentIds()

    assert recent.duplicates(["a", "b"], 0) == []
    assert recent.duplicates(["c", "a", "d", "d"], 0) == [1, 3]
    assert recent.duplicates(["c", "d"], 0) == [0, 1]


def test_empty_id_is_never_a_duplicate():
    """A venue without ids has no doubles, as far as anybody can know."""
    recent = RecentIds()

    assert recent.duplicates(["", "", "a"], 0) == []
    assert recent.duplicates([""], 0) == []
    assert len(recent) == 1


def test_ids_are_remembered_for_at_least_a_generation(monkeypatch):
    """However many come, what came within a minute is known."""
    monkeypatch.setattr(dedupe, "GENERATION_IDS", 3)
    recent = RecentIds()
    recent.duplicates(["first"], 1_000_000)
    for i in range(20):
        recent.duplicates([f"{i}"], 1_000_000 + i)

    assert recent.duplicates(["first"], 1_000_000 + dedupe.GENERATION_MS) == [0]


def test_memory_is_bounded(monkeypatch):
    """A flood turns the generations early: never more than two of them and a batch."""
    monkeypatch.setattr(dedupe, "GENERATION_LIMIT_IDS", 100)
    recent = RecentIds()
    for i in range(1_000):
        recent.duplicates([f"{i}-{k}" for k in range(10)], 0)

    assert len(recent) <= 2 * 100 + 2 * 10


def test_old_ids_are_forgotten_in_the_end(monkeypatch):
    """Two generations later an id is new again."""
    monkeypatch.setattr(dedupe, "GENERATION_IDS", 2)
    recent = RecentIds()
    now = 10**12
    recent.duplicates(["first"], now)
    for i in range(1, 5):
        recent.duplicates([f"{i}-{k}" for k in range(3)], now + i * (dedupe.GENERATION_MS + 1))

    assert recent.duplicates(["first"], now + 5 * (dedupe.GENERATION_MS + 1)) == []
