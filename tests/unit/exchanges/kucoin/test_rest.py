"""KuCoin's REST: candles that it writes late or leaves out, lots, trades, errors that come with HTTP 200."""

import csv
import json
from decimal import Decimal

import pytest

from exchanges.kucoin.rest import STEPS, TRADES, sort_answer
from exchanges.kucoin.rest_rows import CANDLE
from model.intervals import DAY_MS, HOUR_MS, WEEK_MS
from model.ports import HistoryError
from model.records import Candle
from tests.unit.exchanges.kucoin.rest_stub import (
    CONTRACT,
    MINUTE_MS,
    NOW_MS,
    Exchange,
    enveloped,
    futures_candle,
    spot_candle,
)

OPEN_MS = NOW_MS // MINUTE_MS * MINUTE_MS


def minutes(exchange, newest, oldest, symbol="XBTUSDTM"):
    """Candles from `oldest` minutes ago up to `newest`, that one not included."""
    found = exchange.rest.candles(symbol, MINUTE_MS, OPEN_MS - oldest * MINUTE_MS, OPEN_MS - newest * MINUTE_MS)
    return {(OPEN_MS - candle.start_ms) // MINUTE_MS: candle for candle in found}


def test_recorded_candles_are_read(shared_data):
    """Of both markets: spot in seconds with the close before the high; futures in lots."""
    spot = json.loads((shared_data / "kucoin" / "rest_spot_candles_1h.json").read_text())["data"]
    futures = json.loads((shared_data / "kucoin" / "rest_futures_kline_1h.json").read_text())["data"]

    assert CANDLE["spot"].read(spot[0]) == Candle(
        1788328800000, *map(Decimal, ("77625", "77689", "77625", "77674.6", "7.04447437", "547069.686194431"))
    )
    assert CANDLE["linear"].read(futures[0], Decimal("0.001")) == Candle(
        1788242400000, *map(Decimal, ("79140.8", "79140.8", "78712.0", "78712.0", "49.623", "3915961.5089"))
    )
    assert all(CANDLE["spot"].read(row) for row in spot)
    assert all(CANDLE["linear"].read(row) for row in futures)


def test_volume_of_futures_is_lots_times_multiplier():
    """Turnover is in the quote as it comes."""
    exchange = Exchange()
    exchange.stub.candles = [futures_candle(0)]
    (candle,) = minutes(exchange, -1, 0).values()

    assert (candle.volume, candle.turnover) == (Decimal("0.003"), Decimal("0.0045"))


def test_futures_are_read_page_by_page_the_oldest_first():
    """Of a window longer than 200 candles it gives the oldest: no window is."""
    exchange = Exchange()
    exchange.stub.candles = [futures_candle(minute) for minute in range(1000, -1, -1)]

    assert [*minutes(exchange, -1, 700)] == list(range(700, -1, -1))
    spans = [int(query["to"]) + 1 - int(query["from"]) for query in exchange.candle_queries()]
    assert max(spans) <= 200 * MINUTE_MS
    assert len(spans) == 4
    assert {query["granularity"] for query in exchange.candle_queries()} == {"1"}


def test_quiet_minutes_of_futures_are_flat():
    """The exchange leaves them out, ours are there; so is the audit's: within the span and at both its ends."""
    exchange = Exchange()
    exchange.stub.candles = [futures_candle(30, 1.25), futures_candle(20, 1.5), futures_candle(3, 1.75)]

    found = minutes(exchange, 10, 25)
    assert [*found] == list(range(25, 10, -1))
    quiet = Candle(OPEN_MS - 25 * MINUTE_MS, *map(Decimal, ("1.25", "1.25", "1.25", "1.25", "0", "0")))
    assert (found[25], found[20].volume, found[11].close) == (quiet, Decimal("0.003"), Decimal("1.5"))
    assert [*minutes(exchange, 24, 25)] == [25]  # one alone, before and behind which nothing was traded


@pytest.mark.parametrize("market", ["spot", "linear"])
def test_what_is_missing_at_the_newest_end_is_quiet_since_the_last_trade(market):
    """But for what is not over for long; without a trade since, the exchange has nothing more to write."""
    exchange = Exchange(market)
    rows = [futures_candle(30), futures_candle(20)] if market == "linear" else [spot_candle(20), spot_candle(30)]
    exchange.stub.candles = rows
    row = futures_trade if market == "linear" else spot_trade
    exchange.stub.trades = [row(-20 * MINUTE_MS + 59_999, price="1.75", sequence="7")]

    found = minutes(exchange, 0, 40, "XBTUSDTM")
    assert [*found] == list(range(30, 1, -1))  # of the last one the end is not 10 s ago
    assert (found[2].open, found[2].close, found[2].volume) == (Decimal("1.75"), Decimal("1.75"), 0)
    assert [*minutes(exchange, 5, 6, "XBTUSDTM")] == [6]

    exchange.stub.trades = [row(-15 * MINUTE_MS, sequence="7")]  # its candle is late
    assert [*minutes(exchange, 0, 40, "XBTUSDTM")] == list(range(30, 19, -1))
    exchange.stub.trades = []
    assert [*minutes(exchange, 0, 40, "XBTUSDTM")] == list(range(30, 19, -1))


def test_a_span_of_nothing_asks_nothing():
    """Of both markets."""
    for market in ("spot", "linear"):
        exchange = Exchange(market)
        assert exchange.rest.candles("X", MINUTE_MS, OPEN_MS, OPEN_MS) == []
        assert exchange.stub.asked == []


def test_spot_is_read_window_by_window_the_newest_first():
    """In seconds, both ends included."""
    exchange = Exchange("spot")
    exchange.stub.candles = [spot_candle(minute) for minute in range(4000)]

    assert [*minutes(exchange, -1, 3500, "BTC-USDT")] == list(range(3500, -1, -1))
    assert minutes(exchange, 9, 10, "BTC-USDT") == {
        10: Candle(OPEN_MS - 10 * MINUTE_MS, *map(Decimal, ("1.0", "2.5", "0.5", "1.1", "7", "8.5")))
    }
    query = exchange.candle_queries()[-1]
    assert int(query["startAt"]) * 1000 == OPEN_MS - 10 * MINUTE_MS
    assert query["type"] == "1min"
    assert len(exchange.candle_queries()) == 4


def test_a_quiet_minute_that_spot_has_not_written_yet_is_flat_between_two():
    """It is written when the next trade comes; a page may come in between."""
    exchange = Exchange("spot")
    exchange.stub.candles = [spot_candle(minute) for minute in (0, 1, 3, 4)]

    found = minutes(exchange, -1, 4, "BTC-USDT")
    assert [*found] == [4, 3, 2, 1, 0]
    assert (found[2].open, found[2].volume) == (Decimal("1.1"), 0)


def test_steps_are_those_that_begin_as_ours_do():
    """Futures have no 6 h; weeks and months are made of days."""
    assert STEPS["linear"][8 * HOUR_MS] == "480"
    assert STEPS["linear"][DAY_MS] == "1440"
    assert 6 * HOUR_MS not in STEPS["linear"]
    assert STEPS["spot"][6 * HOUR_MS] == "6hour"
    for market in STEPS:
        with pytest.raises(ValueError, match="KuCoin has"):
            Exchange(market).rest.candles("X", WEEK_MS, 0, WEEK_MS)


def test_candles_of_a_contract_that_is_not_listed_are_refused_for_good():
    """Its lots mean nothing."""
    with pytest.raises(HistoryError, match="contract size") as caught:
        Exchange().rest.candles("NOSUCHUSDTM", MINUTE_MS, OPEN_MS, OPEN_MS + MINUTE_MS)
    assert caught.value.is_final


# -- trades -------------------------------------------------------------------------------------------------------


def spot_trade(number, **fields):
    ns = (NOW_MS + number) * 1_000_000 + 7
    return {"sequence": str(number), "price": "1.5", "size": "2", "side": "buy", "time": ns, **fields}


def futures_trade(number, **fields):
    ns = (NOW_MS + number) * 1_000_000
    return {"sequence": number, "tradeId": str(number), "price": "1.5", "size": 2, "side": "buy", "ts": ns, **fields}


@pytest.mark.parametrize(("market", "row"), [("spot", spot_trade), ("linear", futures_trade)])
def test_recent_trades_are_oldest_first_whichever_end_comes_first(market, row):
    """Nanoseconds are cut to ms, ids are those of the stream."""
    for numbers in ((5, 9, 12), (12, 9, 5)):
        exchange = Exchange(market)
        exchange.stub.trades = [row(number) for number in numbers]
        trades = exchange.rest.recent_trades("X")
        assert [(each.trade_id, each.seq, each.event_ms - NOW_MS) for each in trades] == [
            ("5", 5, 5),
            ("9", 9, 9),
            ("12", 12, 12),
        ]
        assert exchange.stub.asked == [(TRADES[market], {"symbol": "X"})]


def test_an_unreadable_trade_is_among_the_others():
    """At the times of both its neighbours."""
    exchange = Exchange("spot")
    exchange.stub.trades = [spot_trade(12), spot_trade(9, size="-1"), spot_trade(5)]
    trades = exchange.rest.recent_trades("X")
    assert [(each.trade_id, each.size > 0) for each in trades] == [("5", True), ("", False), ("", False), ("12", True)]
    assert exchange.rest.trades_by_id("X", 1, 2) == ()


# -- listing and errors -------------------------------------------------------------------------------------------


def test_contracts_are_listed_with_what_a_lot_is(shared_data):
    """XBT is BTC, and AIXBT another coin; inverse ones and those that do not trade are left out, dated ones told."""
    exchange = Exchange()
    recorded = json.loads((shared_data / "kucoin" / "rest_futures_contracts.json").read_text())["data"]
    own = {**CONTRACT, "turnoverOf24h": 594135187.19}
    others = [
        {**CONTRACT, "symbol": "AIXBTUSDTM", "baseCurrency": "AIXBT", "multiplier": 10},
        {**CONTRACT, "symbol": "ETHUSDT26", "baseCurrency": "ETH", "expireDate": 1790323200000},
        {**CONTRACT, "symbol": "NEWUSDTM", "status": "Init"},
        {**CONTRACT, "symbol": "OLDUSDTM", "status": "BeingSettled"},
    ]
    exchange.stub.contracts = [*recorded, own, *others]
    listed = {each.symbol: each for each in exchange.rest.listed()}

    assert [*listed] == ["XBTUSDTM", "AIXBTUSDTM", "ETHUSDT26"]
    btc = listed["XBTUSDTM"]
    assert (btc.base, btc.quote, btc.contract_size, btc.turnover) == ("BTC", "USDT", Decimal("0.001"), 594135187.19)
    assert (listed["AIXBTUSDTM"].base, listed["AIXBTUSDTM"].contract_size) == ("AIXBT", 10)
    assert [each.is_dated for each in listed.values()] == [False, False, True]
    assert "NEWUSDTM" in {each.symbol for each in exchange.rest.listed(pre_market=True)}


def test_pairs_are_listed_with_their_turnover_in_dollars(shared_data):
    """Those that can be traded; one without a ticker has none."""
    exchange = Exchange("spot")
    recorded = json.loads((shared_data / "kucoin" / "rest_spot_symbols.json").read_text())["data"]
    exchange.stub.symbols = [
        *recorded,
        {"symbol": "ETH-BTC", "baseCurrency": "ETH", "quoteCurrency": "BTC", "enableTrading": True},
        {"symbol": "OLD-USDT", "baseCurrency": "OLD", "quoteCurrency": "USDT", "enableTrading": False},
        {"symbol": "NEW-USDT", "baseCurrency": "NEW", "quoteCurrency": "USDT", "enableTrading": True},
    ]
    exchange.stub.tickers = [
        {"symbol": "BTC-USDT", "last": "50000", "volValue": "7000000"},
        {"symbol": "ETH-BTC", "last": "0.05", "volValue": "10"},
        {"symbol": "GONE-USDT", "last": None, "volValue": None},
    ]
    listed = [(each.symbol, each.base, each.quote, each.turnover) for each in exchange.rest.listed()]
    assert listed == [
        ("BTC-USDT", "BTC", "USDT", 7_000_000.0),
        ("ETH-BTC", "ETH", "BTC", 500_000.0),
        ("NEW-USDT", "NEW", "USDT", 0.0),
    ]


def test_the_clock_is_in_ms():
    """What is none is an error."""
    exchange = Exchange("spot")
    assert exchange.rest.server_time_ms() == NOW_MS
    exchange.stub.script = [(200, {}, enveloped(1_800_000_000))]
    with pytest.raises(HistoryError, match="no time"):
        exchange.rest.server_time_ms()


def test_an_error_comes_with_http_200(shared_data):
    """A wrong symbol is final; what is not known is asked again."""
    body = json.loads((shared_data / "kucoin" / "rest_error_symbol.json").read_text())
    exchange = Exchange("spot")
    exchange.stub.script = [(200, {}, body)]
    with pytest.raises(HistoryError, match="200003 Invalid symbol") as caught:
        exchange.rest.recent_trades("X")
    assert caught.value.is_final
    exchange.stub.script = [(200, {}, {"code": "500000", "msg": "busy"}), (200, {}, enveloped(None)), (200, {}, b"<")]
    exchange.stub.trades = [spot_trade(1)]
    assert len(exchange.rest.recent_trades("X")) == 1


def test_limits_are_kept_by_what_the_headers_say():
    """429000 with a reset is the limit of this address, without one an overload of the exchange."""
    spent = {"gw-ratelimit-limit": "2000", "gw-ratelimit-remaining": "0", "gw-ratelimit-reset": "2500"}
    limited = sort_answer(429, spent, {"code": "429000", "msg": "too many"})
    assert (limited.kind, limited.retry_after_s, limited.used) == ("limited", 2.5, 2000)
    assert sort_answer(429, {}, {"code": "429000", "msg": "too many"}).kind == "temporary"
    assert sort_answer(200, {**spent, "gw-ratelimit-remaining": "1990"}, enveloped([])).used == 10
    assert sort_answer(403, {}, {"code": "1"}).kind == "banned"
    assert sort_answer(200, {}, {"code": ["x"]}).kind == "temporary"
    assert sort_answer(200, {}, []).kind == "temporary"


# -- the rule of candles, on two days of the exchange's own -------------------------------------------------------


@pytest.mark.parametrize("pair", ["BTC-USDT", "GMM-USDT"])
def test_recorded_minutes_make_the_recorded_five_minutes_where_they_were_traded(shared_data, pair):
    """Every one of 577, also of a pair that is mostly quiet: quiet minutes give nothing but the close."""
    by_step = {}
    for step in ("1m", "5m"):
        with (shared_data / "kucoin" / f"spot_{pair}_{step}_2023-03-07.csv").open() as lines:
            rows = [list(map(Decimal, row)) for row in list(csv.reader(lines))[1:]]
        by_step[step] = {int(row[0]): row[1:] for row in rows}
    for start_ms, candle in by_step["5m"].items():
        every = [by_step["1m"].get(start_ms + number * MINUTE_MS) for number in range(5)]
        parts = [part for part in every if part and part[4]] or [part for part in every if part][:1]
        if None in every:
            continue
        rolled = [parts[0][0], max(p[1] for p in parts), min(p[2] for p in parts), parts[-1][3]]
        assert rolled == candle[:4]
