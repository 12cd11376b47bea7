"""REST of the simulated OKX, read by our own client: two readings of one documentation."""

import threading
import time
from contextlib import closing
from decimal import Decimal

import pytest

from exchanges.contract import TradeRules
from exchanges.okx.rest import OkxRest
from exchanges.rest_limits import SiteLimits
from model.intervals import DAY_MS, HOUR_MS, MINUTE_MS, MONTH, WEEK_MS
from model.ports import HistoryError

SYMBOLS = {"spot": "BTC-USDT", "linear": "BTC-USDT-SWAP", "inverse": "BTC-USD-SWAP"}


def opened(simulator, market="linear"):
    rest = OkxRest(market, rules=TradeRules(), stop=threading.Event(), url=simulator.rest_url, limits=SiteLimits())
    return closing(rest)


def test_markets_are_listed_with_their_contracts(simulator):
    """And a turnover each."""
    for market, symbol in SYMBOLS.items():
        with opened(simulator, market) as rest:
            found = {each.symbol: each for each in rest.listed()}

        assert len(found) == 3
        assert found[symbol].base == "BTC"
        assert found[symbol].quote == ("USD" if market == "inverse" else "USDT")
        assert found[symbol].contract_size == Decimal({"spot": "1", "linear": "0.01", "inverse": "100"}[market])
        assert all(each.turnover > 0 for each in found.values()) or market == "spot"  # nothing traded yet


@pytest.mark.parametrize("market", list(SYMBOLS))
def test_candles_are_the_true_ones(simulator, market):
    """Of two hours, all columns, volume in the base coin and turnover in the quote, for inverse the other way round."""
    with opened(simulator, market) as rest:
        now_ms = rest.server_time_ms()
        end = now_ms // MINUTE_MS * MINUTE_MS
        found = rest.candles(SYMBOLS[market], MINUTE_MS, end - 120 * MINUTE_MS, end)
    true = simulator.klines(SYMBOLS[market], MINUTE_MS, market, start=end - 120 * MINUTE_MS, end=end - 1)
    names = ("open", "high", "low", "close", "volume", "turnover")

    assert [each.start_ms for each in found] == [row["start"] for row in true]
    assert [[getattr(each, name) for name in names] for each in found] == [
        [Decimal(row[name]) for name in names] for row in true
    ]


def test_two_thousand_minutes_are_read_over_both_paths(simulator):
    """Without a hole, the open one included."""
    with opened(simulator) as rest:
        now_ms = rest.server_time_ms()
        first = now_ms // MINUTE_MS * MINUTE_MS - 2000 * MINUTE_MS
        found = rest.candles(SYMBOLS["linear"], MINUTE_MS, first, now_ms)

    assert [each.start_ms for each in found] == list(range(first, now_ms, MINUTE_MS))


@pytest.mark.parametrize(("step", "anchor"), [(6 * HOUR_MS, 0), (DAY_MS, 0), (WEEK_MS, 4 * DAY_MS)])
def test_long_candles_begin_in_utc(simulator, step, anchor):
    """The simulated exchange has the others, too: days of UTC+8 begin at 16:00."""
    with opened(simulator) as rest:
        now_ms = rest.server_time_ms()
        found = rest.candles(SYMBOLS["linear"], step, now_ms - 5 * step, now_ms)
        months = rest.candles(SYMBOLS["linear"], MONTH, now_ms - 100 * DAY_MS, now_ms)

    assert len(found) == 5
    assert {(each.start_ms - anchor) % step for each in found} == {0}
    assert len(months) in (3, 4)
    plain = simulator.get("/api/v5/market/candles", instId=SYMBOLS["linear"], bar="1D").json()["data"]
    assert {int(row[0]) % DAY_MS for row in plain} == {16 * HOUR_MS}


def test_a_hole_is_read_by_its_ids(simulator):
    """Several pages, exactly."""
    with opened(simulator) as rest:
        until = time.monotonic() + 60
        while len(recent := rest.recent_trades(SYMBOLS["linear"])) < 400 and time.monotonic() < until:
            time.sleep(0.2)
        first, last = recent[20].seq, recent[-20].seq
        found = rest.trades_by_id(SYMBOLS["linear"], first, last)

    assert [each.trade_id for each in found] == list(range(first, last + 1))
    assert found == list(recent[20:-19])


def test_limits_are_kept_and_refusals_waited_for(simulator):
    """Time allows ten requests in two seconds; one too many of somebody else's costs no answer."""
    with opened(simulator) as rest, opened(simulator) as other:
        for each in [rest, other] * 8:
            assert each.server_time_ms() > 0
    simulator.command("rest_fault", what="http", status=503, count=1)
    with opened(simulator) as rest:
        assert rest.server_time_ms() > 0
        with pytest.raises(HistoryError, match="51001") as caught:
            rest.recent_trades("NONE-USDT-SWAP")
    assert caught.value.is_final
