"""The symbols that OKX lists: which, of what coins, with what contract, in what order."""

import json
from decimal import Decimal

import pytest

from exchanges.okx.rest import sort_answer
from tests.unit.exchanges.okx.rest_stub import Exchange, enveloped


def swap(symbol, contract="linear", **fields):
    family = symbol.removesuffix("-SWAP")
    row = {"instId": symbol, "instType": "SWAP", "instFamily": family, "uly": family, "baseCcy": "", "quoteCcy": ""}
    return {**row, "ctType": contract, "ctVal": "0.01", "ctMult": "1", "state": "live", **fields}


def spot(symbol, **fields):
    base, quote = symbol.split("-")
    row = {"instId": symbol, "instType": "SPOT", "instFamily": "", "uly": "", "baseCcy": base, "quoteCcy": quote}
    return {**row, "ctType": "", "ctVal": "", "ctMult": "", "state": "live", **fields}


def ticker(symbol, last="2", vol="10", vol_coin="5"):
    return {"instId": symbol, "last": last, "vol24h": vol, "volCcy24h": vol_coin}


def listed(market, instruments, tickers=(), **options):
    exchange = Exchange(market)
    exchange.stub.instruments, exchange.stub.tickers = list(instruments), list(tickers)
    return {each.symbol: each for each in exchange.rest.listed(**options)}


def test_linear_and_inverse_share_a_product():
    """The type of a contract says which market it is of."""
    rows = [swap("BTC-USDT-SWAP"), swap("BTC-USD-SWAP", "inverse"), swap("BTC-USDC-SWAP")]

    assert list(listed("linear", rows)) == ["BTC-USDT-SWAP", "BTC-USDC-SWAP"]
    assert list(listed("inverse", rows)) == ["BTC-USD-SWAP"]


def test_base_and_quote_of_a_swap_are_in_its_family():
    """Its own fields are empty; rows of 2022 have an underlying only."""
    found = listed("linear", [swap("SHIB-USDT-SWAP"), swap("ETH-USDC-SWAP", instFamily="")])

    assert [(each.base, each.quote) for each in found.values()] == [("SHIB", "USDT"), ("ETH", "USDC")]


def test_a_contract_is_its_value_times_its_multiplier():
    """An empty multiplier is one."""
    rows = [swap("A-USDT-SWAP", ctVal="1000", ctMult="10"), swap("B-USDT-SWAP", ctVal="0.0001", ctMult="")]

    assert [each.contract_size for each in listed("linear", rows).values()] == [Decimal(10_000), Decimal("0.0001")]
    assert listed("spot", [spot("BTC-USDT")])["BTC-USDT"].contract_size == 1


@pytest.mark.parametrize("value", ["", "x", "0", "-1", "nan", "inf", "1E+999999"])
def test_a_swap_without_a_contract_size_costs_itself(value):
    """It is listed, its size unknown; the others have theirs."""
    found = listed("linear", [swap("A-USDT-SWAP", ctVal=value), swap("B-USDT-SWAP")])

    assert [each.contract_size for each in found.values()] == [None, Decimal("0.01")]


def test_what_is_not_live_is_not_listed():
    """Before the listing only where that is asked for."""
    rows = [
        spot("A-USDT"),
        spot("B-USDT", state="suspend"),
        spot("C-USDT", state="preopen"),
        spot("D-USDT", state="test"),
        spot("E-USDT", state="rebase"),
    ]

    assert list(listed("spot", rows)) == ["A-USDT", "E-USDT"]
    assert list(listed("spot", rows, pre_market=True)) == ["A-USDT", "C-USDT", "E-USDT"]


def test_turnovers_are_comparable_within_a_market():
    """In dollars: spot's by the price of its quote, swaps' by their own price or the dollars of a contract."""
    spots = [spot(name) for name in ("BTC-USDT", "ETH-BTC", "BTC-EUR", "USDT-BRL", "XRP-BRL", "XRP-XYZ")]
    prices = {"BTC-USDT": "100", "ETH-BTC": "0.5", "BTC-EUR": "90", "USDT-BRL": "5", "XRP-BRL": "2", "XRP-XYZ": "1"}
    tickers = [ticker(name, last) for name, last in prices.items()]
    found = {name: each.turnover for name, each in listed("spot", spots, [*tickers, ticker("EUR-USDC", "1.1")]).items()}

    assert found == pytest.approx(
        {"BTC-USDT": 5, "ETH-BTC": 500, "BTC-EUR": 5.5, "USDT-BRL": 1, "XRP-BRL": 1, "XRP-XYZ": 0}
    )
    assert listed("linear", [swap("A-USDT-SWAP")], [ticker("A-USDT-SWAP")])["A-USDT-SWAP"].turnover == 10
    inverse = listed("inverse", [swap("A-USD-SWAP", "inverse", ctVal="100")], [ticker("A-USD-SWAP")])
    assert inverse["A-USD-SWAP"].turnover == 1000


def test_a_ticker_that_makes_no_sense_is_no_turnover():
    """Nothing traded yet, garbage, no ticker at all."""
    rows = [swap(f"{name}-USDT-SWAP") for name in "ABC"]
    found = listed("linear", rows, [ticker("A-USDT-SWAP", vol_coin=""), ticker("B-USDT-SWAP", "nan"), {"last": "1"}])

    assert [each.turnover for each in found.values()] == [0, 0, 0]


def test_names_that_no_stream_can_carry_are_left_out():
    """An underscore is no such name, nor are Chinese letters."""
    names = ["BTC-USD_UM", "币-USDT", "A B-USDT"]

    assert list(listed("spot", [spot(name) for name in names])) == names[:2]


def test_recorded_listings_are_read(shared_data):
    """Of 2022 and 2025, spot and swaps."""
    folder = shared_data / "okx" / "rest"
    for file, market in (
        ("instruments_SPOT_2022-05-13.json", "spot"),
        ("fixture_instruments_spot.json", "spot"),
        ("instruments_SWAP_2022-05-13.json", "linear"),
        ("instruments_SWAP_2022-05-13.json", "inverse"),
        ("fixture_instruments_swap.json", "inverse"),
    ):
        rows = json.loads((folder / file).read_text())["data"]
        wanted = [row["instId"] for row in rows if market == "spot" or row["ctType"] == market]
        found = listed(market, rows)

        assert list(found) == wanted != []
        assert all(each.contract_size and each.base and each.quote for each in found.values())


def test_limits_are_those_of_each_path():
    """Instruments are counted for each product alone; a request too many is waited for, then sent again."""
    exchange = Exchange()
    exchange.stub.script = [enveloped([], "50011", "Too Many Requests")]
    verdict = sort_answer(200, {}, {"code": "50011", "msg": "Too Many Requests"})

    assert verdict.kind == "limited"
    assert sort_answer(403, {}, {"code": "1015"}).kind == "banned"
    assert sort_answer(429, {}, None).kind == "limited"
    assert sort_answer(400, {}, {"code": "12345", "msg": ""}).kind == "final"
