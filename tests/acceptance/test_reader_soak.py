"""The soak of readers in short: Redis, the collector and a reader killed in turn, under readers of every kind."""

from benchmarks.reader_soak import READERS, SHORT, run


def test_no_reader_sees_a_hole_or_a_double_when_redis_collector_or_reader_is_killed(tmp_path):
    """Each DataFrame equals the exchange's candles; `python -m benchmarks.reader_soak` does it for 20 minutes."""
    world = run(tmp_path, kills=3, seed=3, pace=SHORT)

    assert world.samples == []
    kills = {name: world.counts[f"kills of {name}"] for name in ("redis", "collector", READERS[0])}
    assert all(kills.values()), kills
    assert world.counts["rows equal to the truth"] >= 2 * 5 * len(READERS)
