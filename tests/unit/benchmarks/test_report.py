"""Figures: medians over runs, ratios within one."""

from benchmarks.contenders import RAW, SEED
from benchmarks.path import is_wrong, note_counters
from benchmarks.report import Sample, as_markdown, medians, ratios


def sample(contender: str, cpu_us: float, *, rate: int = 5_000, lost: int = 0, per_s: float = 5_000.0) -> Sample:
    return Sample(contender, rate, 1_000, lost, True, per_s, cpu_us, 0.25, 1.0, 2.0, {"valkey": 10.0})


def test_a_ratio_compares_contenders_of_the_same_run() -> None:
    """A run on a slow moment of the machine is slow for both; the median of ratios is not the ratio of medians."""
    runs = [[sample(RAW.key, own), sample(SEED.key, seed)] for own, seed in ((10, 100), (20, 100), (40, 400))]
    assert ratios(runs, 5_000, RAW.key) == [10, 5, 10]
    rows = {row["contender"]: row for row in medians(runs)}
    assert rows[RAW.key]["cpu_us"] == 20
    assert (rows[RAW.key]["user_us"], rows[RAW.key]["system_us"]) == (15, 5)
    assert rows[RAW.key]["seed_times"] == 10


def test_losses_of_all_runs_are_added() -> None:
    """A median would hide the one run that lost something."""
    runs = [[sample(RAW.key, 10, lost=lost)] for lost in (0, 0, 7)]
    (row,) = medians(runs)
    assert (row["lost"], row["sent"]) == (7, 3_000)


def test_who_does_not_keep_up_is_marked() -> None:
    """CPU per message of a contender that fell behind is not that of the asked rate."""
    facts = {"topics": 16, "mean_bytes": 348.0, "mix": {"trades": 1.0}}
    text = as_markdown([[sample(RAW.key, 10), sample(SEED.key, 100, per_s=3_000)]], None, facts, 5)
    assert [line.count("behind") for line in text.splitlines() if line.startswith("| 5,000/s")] == [0, 1]


def test_the_collectors_own_counters_are_believed() -> None:
    """Trades it did not count, or payloads it dropped, make a measurement wrong even if nobody missed them."""
    good, bad = sample(RAW.key, 10), sample(RAW.key, 10)
    note_counters({"klines": {"duplicates": 0}, "consumers": {"redis": {"dropped": 0}}, "faults": {}}, [good])
    note_counters({"klines": {"duplicates": 3}, "consumers": {"redis": {"dropped": 0}}, "faults": {}}, [bad])
    assert not is_wrong(good)
    assert is_wrong(bad)
    assert bad.notes == {"klines_duplicates": 3}
    assert not is_wrong(sample(SEED.key, 10, lost=5))
