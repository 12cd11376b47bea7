"""What is made of Bybit's listing. Nothing is asked here."""

import pytest

from exchanges.bybit.listing import BybitListing, _Instrument, _Ticker, turnover_of


@pytest.mark.parametrize(
    ("market", "ticker", "dollars"),
    [
        ("linear", _Ticker("BTCUSDT", turnover24h="5000", volume24h="0.1"), 5000.0),
        ("inverse", _Ticker("BTCUSD", turnover24h="0.1", volume24h="5000"), 5000.0),
        ("spot", _Ticker("ETHBTC", turnover24h="3", volume24h="100", usdIndexPrice="2000"), 200_000.0),
        ("spot", _Ticker("NEWUSDT", turnover24h="7", volume24h="100"), 7.0),
        ("linear", _Ticker("ODDUSDT", turnover24h="-"), 0.0),
    ],
)
def test_turnover_can_be_compared_within_a_market(market: str, ticker: _Ticker, dollars: float) -> None:
    """A pair quoted in coins is not the least traded; inverse counts volume in dollars."""
    assert turnover_of(market, ticker) == dollars


def test_a_symbol_that_no_stream_can_carry_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost its connection; one of another alphabet is fine, and one that trades nothing is the last."""
    listing = BybitListing("linear", url="http://127.0.0.1:9")
    found = [_Instrument(name, "X", "USDT") for name in ("BTCUSDT", "b.t.c", "币安人生USDT")]
    monkeypatch.setattr(listing, "_instruments", lambda **_: found)
    monkeypatch.setattr(listing, "_turnover", lambda: {"BTCUSDT": 5.0})
    assert [(each.symbol, each.turnover) for each in listing.listed()] == [("BTCUSDT", 5.0), ("币安人生USDT", 0.0)]


def test_contracts_that_end_are_known_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their base and quote are those of the perpetual one."""
    listing = BybitListing("linear", url="http://127.0.0.1:9")
    kinds = {"BTCUSDT": "LinearPerpetual", "BTCUSDT-26DEC25": "LinearFutures", "X": ""}
    found = [_Instrument(name, "BTC", "USDT", kind) for name, kind in kinds.items()]
    monkeypatch.setattr(listing, "_instruments", lambda **_: found)
    monkeypatch.setattr(listing, "_turnover", dict)
    assert [each.is_dated for each in listing.listed()] == [False, True, False]


def test_contracts_before_their_listing_come_only_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that has just been listed is not there twice."""
    listing = BybitListing("linear", url="http://127.0.0.1:9")
    by_status = {None: ["AUSDT", "BUSDT"], "PreLaunch": ["BUSDT", "CUSDT"]}
    monkeypatch.setattr(
        listing, "_instruments", lambda status=None: [_Instrument(name, "X", "USDT") for name in by_status[status]]
    )
    monkeypatch.setattr(listing, "_turnover", dict)
    assert [each.symbol for each in listing.listed()] == ["AUSDT", "BUSDT"]
    assert [each.symbol for each in listing.listed(pre_market=True)] == ["AUSDT", "BUSDT", "CUSDT"]
