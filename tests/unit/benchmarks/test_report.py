"""Figures: medians over runs, ratios within one."""

from benchmarks.contenders import FLOOR, KLINES, RAW, SCRIPT
from benchmarks.harness import Sample, is_unaltered, lost_of, note_counters
from benchmarks.path import LAYOUTS, medians, ratios, section, summary
from benchmarks.plot import Panel, bars, draw
from benchmarks.report import spread, table


def sample(contender: str, cpu_us: float, *, rate: int = 5_000, lost: int = 0, per_s: float = 5_000.0) -> Sample:
    return Sample(contender, rate, 1_000, lost, True, per_s, cpu_us, 0.25, {"valkey": 10.0}, 100, 1.0, 1.5, 2.0, 9.0)


def test_a_ratio_compares_contenders_of_the_same_run() -> None:
    """A run on a slow moment of the machine is slow for both; the median of ratios is not the ratio of medians."""
    runs = [[sample(KLINES.key, own), sample(SCRIPT.key, script)] for own, script in ((10, 100), (20, 100), (40, 400))]
    assert ratios(runs, 5_000, SCRIPT.key) == [10, 5, 10]
    rows = {row["contender"]: row for row in medians(runs)}
    assert rows[KLINES.key]["cpu_us"] == 20
    assert (rows[KLINES.key]["user_us"], rows[KLINES.key]["system_us"]) == (15, 5)
    assert rows[SCRIPT.key]["times"] == 10


def test_losses_of_all_runs_are_added() -> None:
    """A median would hide the one run that lost something."""
    runs = [[sample(RAW.key, 10, lost=lost)] for lost in (0, 0, 7)]
    (row,) = medians(runs)
    assert (row["lost"], row["sent"]) == (7, 3_000)


def test_a_contender_that_falls_behind_is_marked_and_a_loss_of_the_collector_fails() -> None:
    """CPU per message of one that fell behind is not that of the asked rate; the script may lose."""
    facts = {"topics": 16, "mean_bytes": 348.0, "mix": {"trades": 1.0}}
    found = section([[sample(RAW.key, 10), sample(SCRIPT.key, 100, per_s=3_000, lost=3)]], facts, 5)
    lines = [line for line in found.text.splitlines() if line.startswith("| 5,000/s")]
    assert [line.count("behind") for line in lines] == [0, 1]
    assert found.problems == []
    assert section([[sample(RAW.key, 10, lost=1)]], facts, 5).problems


def test_the_summary_has_the_percentiles_and_the_floor_of_the_same_run_in_brackets() -> None:
    """The table of README; without the floor nothing stands in brackets."""
    runs = [[sample(KLINES.key, own), sample(FLOOR.key, floor)] for own, floor in ((8, 2), (9, 3), (7, 4))]
    name = "5,000/s, 100 symbols, 4 connections"
    ages = ("1.00 (1.00)", "1.50 (1.50)", "2.00 (2.00)", "9.00 (9.00)")
    assert summary(LAYOUTS[0], medians(runs)) == [(name, "8.00 (3.00)", *ages)]
    alone = medians([[sample(KLINES.key, 8)]])
    assert summary(LAYOUTS[0], alone) == [(name, "8.00", "1.00", "1.50", "2.00", "9.00")]


def test_the_collectors_own_counters_count() -> None:
    """Trades it did not count, or payloads it dropped, make a measurement wrong even if none is missing."""
    good, bad, short = (sample(RAW.key, 10) for _ in range(3))
    status = {"klines": {"duplicates": 0, "trades": 150}, "consumers": {"redis": {"dropped": 0}}, "faults": {}}
    before = {"klines": {"trades": 50}}
    note_counters(status, before, [good])
    note_counters({**status, "klines": {"duplicates": 3, "trades": 150}}, before, [bad])
    note_counters({**status, "klines": {"duplicates": 0, "trades": 149}}, before, [short])
    assert not good.is_wrong()
    assert bad.is_wrong()
    assert bad.notes == {"klines_duplicates": 3}
    assert short.notes == {"trades_not_in_klines": 1}


def test_one_byte_that_differs_is_seen() -> None:
    """Sizes and CRC-32s are summed per channel; messages may come in another order."""
    sending = {"exchange": "bybit", "messages": {"trades": 2}, "bytes": {"trades": 20}, "digest": {"trades": 123}}
    name = "stream:bybit_trades"
    same = {"counts": {name: 2}, "bytes": {name: 20}, "digest": {name: 123}}
    assert (lost_of(sending, same), is_unaltered(sending, same)) == (0, True)
    assert not is_unaltered(sending, {**same, "digest": {name: 124}})
    assert lost_of(sending, {**same, "counts": {}}) == 2


def test_a_cell_shows_how_far_runs_were_apart() -> None:
    """One run has no spread."""
    assert spread([3.0]) == "3.00"
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0 to 3.0)"
    assert table(("a", "b"), [("x", "1")]).splitlines()[1] == "| --- | ---: |"


def test_charts_hold_their_lines_and_names() -> None:
    """A point per value and a text per name; nothing is drawn outside."""
    text = draw([Panel("cost", {"ours": [(1, 2.0), (64, 3.0)], "<other>": [(1, 4.0), (64, 9.0)]}, is_log_y=True)])
    assert text.count("<circle") == 4
    assert "&lt;other&gt;" in text
    assert bars("cost", {"ours": 4.0, "other": 200.0}, "us").count("<rect") == 3
