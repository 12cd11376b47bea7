"""What is made of Bybit's listing. No socket is opened here."""

from typing import Any

import pytest

from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.rest import BybitRest
from exchanges.bybit.rest_rows import TickerRow, turnover_of
from model.ports import HistoryError
from tests.unit.exchanges.bybit.rest_stub import Reply, Stub, enveloped, session_of


@pytest.mark.parametrize(
    ("market", "ticker", "dollars"),
    [
        ("linear", TickerRow("BTCUSDT", turnover24h="5000", volume24h="0.1"), 5000.0),
        ("inverse", TickerRow("BTCUSD", turnover24h="0.1", volume24h="5000"), 5000.0),
        ("spot", TickerRow("ETHBTC", turnover24h="3", volume24h="100", usdIndexPrice="2000"), 200_000.0),
        ("spot", TickerRow("NEWUSDT", turnover24h="7", volume24h="100"), 7.0),
        ("linear", TickerRow("ODDUSDT", turnover24h="-"), 0.0),
    ],
)
def test_turnover_can_be_compared_within_a_market(market: str, ticker: TickerRow, dollars: float) -> None:
    """A pair quoted in coins is not the least traded; inverse counts volume in dollars."""
    assert turnover_of(market, ticker) == dollars


def test_a_symbol_that_no_stream_can_carry_is_left_out() -> None:
    """It would cost its connection; one of another alphabet is fine, and one that trades nothing is the last."""
    listing, _ = listing_of(
        page("BTCUSDT", "b.t.c", "币安人生USDT"), tickers=[{"symbol": "BTCUSDT", "turnover24h": "5"}]
    )
    assert [(each.symbol, each.turnover) for each in listing.listed()] == [("BTCUSDT", 5.0), ("币安人生USDT", 0.0)]


def test_contracts_that_end_are_known_as_such() -> None:
    """Their base and quote are those of the perpetual one."""
    kinds = {"BTCUSDT": "LinearPerpetual", "BTCUSDT-26DEC25": "LinearFutures", "X": ""}
    listing, _ = listing_of({"list": [instrument(name, contractType=kind) for name, kind in kinds.items()]})
    assert [each.is_dated for each in listing.listed()] == [False, True, False]


def test_contracts_before_their_listing_come_only_on_request() -> None:
    """And one that has just been listed is not there twice."""
    by_status = {None: page("AUSDT", "BUSDT"), "PreLaunch": page("BUSDT", "CUSDT")}
    listing, stub = listing_of()
    stub.script = lambda path, query: enveloped(
        {"list": []} if path.endswith("tickers") else by_status[query.get("status")]
    )
    assert names(listing) == ["AUSDT", "BUSDT"]
    assert [each.symbol for each in listing.listed(pre_market=True)] == ["AUSDT", "BUSDT", "CUSDT"]


# -- what the exchange answers, row by row and page by page ---------------------------------------------------


def listing_of(*pages: dict[str, Any], tickers: Any = ()) -> tuple[BybitRest, Stub]:
    """A listing whose instruments come in these pages (the last one for ever), without a socket."""
    left = list(pages)

    def answer(path: str, _query: dict[str, str]) -> Reply:
        if path.endswith("tickers"):
            return enveloped({"list": tickers})
        return enveloped(left.pop(0) if len(left) > 1 else left[0])

    stub = Stub(answer)
    listing = BybitRest("linear", url="http://127.0.0.1:9", limits=HostLimits(), session=session_of(stub))
    return listing, stub


def instrument(symbol: Any, **fields: Any) -> dict[str, Any]:
    return {"symbol": symbol, "baseCoin": "X", "quoteCoin": "USDT", "status": "Trading", **fields}


def page(*symbols: str, cursor: Any = "") -> dict[str, Any]:
    return {"list": [instrument(symbol) for symbol in symbols], "nextPageCursor": cursor}


def names(listing: BybitRest) -> list[str]:
    return [each.symbol for each in listing.listed()]


@pytest.mark.parametrize(
    "odd", [None, 7, "B", [], {}, instrument(None), instrument(5), instrument(""), {"baseCoin": "B"}], ids=str
)
def test_a_row_that_makes_no_sense_is_left_out(odd: Any) -> None:
    """The others are listed, and one line is logged."""
    listing, _ = listing_of({"list": [instrument("AUSDT"), odd, instrument("CUSDT")], "nextPageCursor": ""})
    assert names(listing) == ["AUSDT", "CUSDT"]


@pytest.mark.parametrize(
    "fields", [{"baseCoin": None}, {"quoteCoin": None}, {"status": None}, {"status": 3}, {"new": 1}]
)
def test_a_field_that_need_not_be_there_costs_nothing(fields: dict[str, Any]) -> None:
    """The symbol trades all the same."""
    listing, _ = listing_of({"list": [instrument("AUSDT", **fields), instrument("BUSDT")], "nextPageCursor": ""})
    assert names(listing) == ["AUSDT", "BUSDT"]


@pytest.mark.parametrize("rows", [None, [], [None, 5, {"symbol": None}, {"symbol": "AUSDT", "turnover24h": None}]])
def test_tickers_that_make_no_sense_cost_their_rank(rows: Any) -> None:
    """No symbol is left out for it."""
    listing, _ = listing_of(page("AUSDT", "BUSDT"), tickers=rows)
    assert [(each.symbol, each.turnover) for each in listing.listed()] == [("AUSDT", 0.0), ("BUSDT", 0.0)]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-5", "", "x", None])
def test_a_turnover_that_is_none_does_not_disturb_the_order(text: Any) -> None:
    """NaN beside numbers would leave the order of all to chance."""
    assert turnover_of("linear", TickerRow("AUSDT", turnover24h=text)) == 0.0


@pytest.mark.parametrize("end", ["", None])
def test_a_last_cursor_of_null_or_nothing_ends(end: Any) -> None:
    """Missing as well."""
    for last in ({"list": [instrument("BUSDT")], "nextPageCursor": end}, {"list": [instrument("BUSDT")]}):
        listing, stub = listing_of(page("AUSDT", cursor="1"), last)
        assert names(listing) == ["AUSDT", "BUSDT"]
        assert len(stub.asked) == 3


def test_null_is_an_empty_list() -> None:
    """An exchange that lists nothing."""
    listing, _ = listing_of({"list": None, "nextPageCursor": None})
    assert names(listing) == []


@pytest.mark.parametrize(
    "pages",
    [
        [page("AUSDT", cursor="1"), page("BUSDT", cursor="1")],  # to itself
        [page("AUSDT", cursor="1"), page("BUSDT", cursor="2"), page("AUSDT", cursor="1")],  # round in circles
        [page("AUSDT", cursor="1"), page(cursor="2"), page("BUSDT")],  # an empty page between
        [page("AUSDT", cursor="1"), page("AUSDT", "BUSDT")],  # equal rows on two pages
        [page("AUSDT", cursor="1"), page(cursor="1"), page("BUSDT")],  # nothing at all, once
        [page("AUSDT", "BUSDT", cursor="1"), page(cursor="1")],  # nothing at all, for ever
    ],
)
def test_each_symbol_is_listed_once_wherever_cursors_lead(pages: list[dict[str, Any]]) -> None:
    """And the questions end."""
    listing, stub = listing_of(*pages)
    assert names(listing) == ["AUSDT", "BUSDT"]
    assert len(stub.asked) <= 5


def test_cursors_without_an_end_are_given_up() -> None:
    """Each of them new."""
    listing, _ = listing_of(*(page("AUSDT", cursor=str(n)) for n in range(50)))
    with pytest.raises(HistoryError, match="does not end"):
        listing.listed()
