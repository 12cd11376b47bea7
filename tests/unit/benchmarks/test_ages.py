"""Ages of messages: every one is counted, and percentiles are of all."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ages import FOLD, LIMIT_US, PERCENTILES, Ages, timeline

NOW_US = 1_763_634_000_000_000


def filled(reads: list[list[int]], *, is_kept: bool = False) -> Ages:
    """Ages after reads of messages so many microseconds old."""
    found = Ages(is_kept=is_kept)
    for number, each in enumerate(reads):
        found.sent_us.extend(NOW_US + number - age for age in each)
        found.arrived(NOW_US + number)
    return found


@given(st.lists(st.lists(st.integers(0, 50_000), max_size=40), max_size=20))
def test_percentiles_are_those_of_all_messages(reads: list[list[int]]) -> None:
    """As if all ages were kept and sorted."""
    every = sorted(age for each in reads for age in each)
    expected = {name: every[int(len(every) * share)] / 1000 for name, share in PERCENTILES.items()} if every else {}
    assert filled(reads).found() == (expected | {"most_ms": every[-1] / 1000} if every else {})


def test_many_messages_are_counted_in_parts_and_an_old_one_at_the_limit() -> None:
    """The bins are bounded; what is beyond them is not left out."""
    found = filled([[100] * (FOLD - 1), [200] * (FOLD + 2), [2 * LIMIT_US]])
    assert len(found.sent_us) == 1
    assert found.found() == {"p50_ms": 0.2, "p90_ms": 0.2, "p99_ms": 0.2, "p999_ms": 0.2, "most_ms": LIMIT_US / 1000}


def test_a_timeline_has_when_each_message_was_sent_and_how_old_it_became(tmp_path: Path) -> None:
    """In the order of their arrival, only where it was asked for."""
    filled([[5, 7], [9]], is_kept=True).save(tmp_path / "kept.npy")
    assert timeline(tmp_path / "kept.npy").tolist() == [[NOW_US - 5, NOW_US - 7, NOW_US + 1 - 9], [5, 7, 9]]
    filled([[5, 7]]).save(tmp_path / "none.npy")
    assert timeline(tmp_path / "none.npy").shape == (2, 0)
