"""Bots that were written for an exchange, on a collector that is killed under them: benchmarks.bots, short."""

import pytest

from benchmarks import bots

pytest.importorskip("ccxt")

SECONDS, KILLS = 22.0, 1
PAUSE_S = 9.0  # before a client's one retry: a busy machine takes its time to start a collector
CLIENTS = ("pro", "sync", "http", "socket")


@pytest.mark.timeout(240)
def test_bots_get_the_exchanges_candles_and_trades_and_cost_it_nothing(tmp_path):
    """ccxt and pybit: no client fails twice in a row, and the exchange has the connections of one collector."""
    found = bots.run(SECONDS, KILLS, tmp_path / "run", PAUSE_S, CLIENTS)

    assert found.problems == []
    assert found.data["trades"] > 50
    assert found.data["candles"] > 500
    assert found.data["retries"] >= 1, "it was killed"
