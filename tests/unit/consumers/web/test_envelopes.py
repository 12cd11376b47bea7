"""consumers.web.envelopes: the last closed klines."""

from consumers.web.envelopes import LastClosed
from consumers.web.topics import EVERYTHING, Patterns
from model.envelope import Envelope
from tests.support.klines import kline, klines


def klines_in(last, wanted=EVERYTHING):
    return [(k.symbol, k.timestamp, k.revision) for envelope in last.envelopes(wanted) for k in envelope.data]


def test_the_newest_kline_wins_with_its_highest_revision():
    """A correction of an older kline does not hide the newest."""
    last = LastClosed()
    for envelope in (klines(1), klines(2), klines(1, revision=1), klines(2, revision=1), klines(2)):
        last.add(envelope)
    assert klines_in(last) == [("BTCUSDT", kline(2).timestamp, 1)]


def test_exchanges_with_the_same_symbol_are_apart():
    """In a relay of several: each has a last closed kline."""
    last, names = LastClosed(), ("bybit", "binance", "okx")
    for number, name in enumerate(names):
        last.add(Envelope(name, "linear", "klines", (kline(revision=number),)))
    assert [(e.exchange, e.data[0].revision) for e in last.envelopes(EVERYTHING)] == list(
        zip(names, range(3), strict=True)
    )
    assert klines_in(last, Patterns(["okx:*:kline.1m.BTCUSDT"])) == [("BTCUSDT", kline().timestamp, 2)]


def test_wanted_klines_are_sent_by_market_in_bounded_messages():
    """250 symbols of a market are three envelopes."""
    last = LastClosed()
    for market in ("linear", "spot"):
        last.add(Envelope("bybit", market, "klines", tuple(kline(symbol=f"S{n}") for n in range(250))))
    assert [(e.channel, len(e.data)) for e in last.envelopes(EVERYTHING)] == [
        ("linear", 100), ("linear", 100), ("linear", 50), ("spot", 100), ("spot", 100), ("spot", 50),
    ]  # fmt: skip
    assert klines_in(last, Patterns(["*:spot:kline.1m.S7"])) == [("S7", kline().timestamp, 0)]
