"""What Bybit lists, read from the simulated exchange over real HTTP."""

from collections.abc import Iterator

import pytest

from exchanges.bybit.client.limits import HostLimits
from exchanges.bybit.rest import BybitRest
from model.ports import HistoryError, Listing
from tests.support.simulator import SimulatorProcess


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """More symbols than one page has."""
    with SimulatorProcess("--symbols", "1100", "--history-minutes", "1", "--rate", "0") as process:
        yield process


@pytest.mark.parametrize(("market", "quote"), [("linear", "USDT"), ("spot", "USDT"), ("inverse", "USD")])
def test_every_symbol_is_listed_once(sim: SimulatorProcess, market: str, quote: str) -> None:
    """Over all pages; spot has none."""
    listing: Listing = BybitRest(market, url=sim.rest_url, limits=HostLimits())
    listed = listing.listed(pre_market=True)

    assert len({each.symbol for each in listed}) == len(listed) == 1100
    assert (listed[0].symbol, listed[0].base, listed[0].quote) == (f"BTC{quote}", "BTC", quote)
    assert all(each.turnover >= 0 for each in listed)


def test_a_delisted_symbol_is_not_listed(sim: SimulatorProcess) -> None:
    """Nor one that is not there yet."""
    sim.command("refuse", topics=["ETHUSDT"])
    try:
        listed = BybitRest("linear", url=sim.rest_url, limits=HostLimits()).listed()
    finally:
        sim.command("allow")
    assert "ETHUSDT" not in {each.symbol for each in listed}
    assert len(listed) == 1099


def test_an_exchange_that_does_not_answer_is_an_error(free_port: int) -> None:
    """Never an empty list."""
    listing = BybitRest("linear", url=f"http://127.0.0.1:{free_port}", limits=HostLimits())
    with pytest.raises(HistoryError, match="instruments-info"):
        listing.listed()


@pytest.mark.parametrize(
    ("fault", "missing"),
    [
        ({"what": "odd_row", "column": "baseCoin", "value": None}, 0),
        ({"what": "odd_row", "column": "symbol", "value": None}, 1),
        ({"what": "odd_row"}, 1),
        ({"what": "null_cursor"}, 100),
    ],
    ids=str,
)
def test_what_is_null_in_one_page_costs_itself(sim: SimulatorProcess, fault: dict[str, object], missing: int) -> None:
    """A row, or that there is another page."""
    sim.command("rest_fault", path="/v5/market/instruments-info", **fault)
    try:
        listed = BybitRest("linear", url=sim.rest_url, limits=HostLimits()).listed()
    finally:
        sim.command("rest_clear")
    assert len({each.symbol for each in listed}) == len(listed) == 1100 - missing


def test_a_cursor_that_leads_to_its_own_page_ends(sim: SimulatorProcess) -> None:
    """For ever the same page: its rows are had once, and the questions end."""
    sim.command("rest_fault", what="cursor_loop", path="/v5/market/instruments-info", count=None)
    try:
        listed = BybitRest("linear", url=sim.rest_url, limits=HostLimits()).listed()
    finally:
        sim.command("rest_clear")
    assert len({each.symbol for each in listed}) == len(listed) == 1000
