"""What names mean by an exchange's listing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exchanges.universe.names import ListedNames
from model.records import Instrument

BYBIT = {
    "linear": [
        Instrument("BTCUSDT", "BTC", "USDT", 9),
        Instrument("BTCPERP", "BTC", "USDC", 8),
        Instrument("SOLUSDT", "SOL", "USDT", 7),
        Instrument("SOLPERP", "SOL", "USDC", 1),
        Instrument("BTC-26DEC25", "BTC", "USDC", 9, is_dated=True),
        Instrument("WBTCUSDT", "WBTC", "USDT", 1),
        Instrument("币安人生USDT", "币安人生", "USDT", 1),
    ],
    "inverse": [Instrument("BTCUSDH26", "BTC", "USD", 9, is_dated=True), Instrument("BTCUSD", "BTC", "USD", 1)],
    "spot": [
        Instrument("BTCUSDT", "BTC", "USDT", 9),
        Instrument("ETHBTC", "ETH", "BTC", 1),
        Instrument("XRPRLUSD", "XRP", "RLUSD", 1),
    ],
}
OKX = {
    "linear": [Instrument("BTC-USDT-SWAP", "BTC", "USDT", 9), Instrument("BTC-USDC-SWAP", "BTC", "USDC", 99)],
    "inverse": [Instrument("BTC-USD-SWAP", "BTC", "USD", 9), Instrument("BTC-USD-251226", "BTC", "USD", 9, True)],
    "spot": [Instrument("BTC-USDT", "BTC", "USDT", 9), Instrument("ETH-BTC", "ETH", "BTC", 1)],
}
BINANCE = {
    "linear": [Instrument("BTCUSDT", "BTC", "USDT", 9), Instrument("BTCUSDT_251226", "BTC", "USDT", 9, True)],
    "inverse": [Instrument("BTCUSD_PERP", "BTC", "USD", 9), Instrument("BTCUSD_251226", "BTC", "USD", 9, True)],
    "spot": [Instrument("BTCUSDT", "BTC", "USDT", 9), Instrument("币安人生USDT", "币安人生", "USDT", 1)],
}
SPELLINGS = [
    "BTC",
    "BTCUSDT",
    "BTC-USDT",
    "BTC_USDT",
    "BTC/USDT",
    "BTC-USDT-SWAP",
    "BTC/USDT:USDT",
    "btcusdt",
    "btc-usdt-perp",
]


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize(
    ("listed", "market", "symbol"),
    [
        (OKX, "linear", "BTC-USDT-SWAP"),
        (OKX, "spot", "BTC-USDT"),
        (OKX, "inverse", "BTC-USD-SWAP"),
        (BINANCE, "linear", "BTCUSDT"),
        (BINANCE, "spot", "BTCUSDT"),
        (BINANCE, "inverse", "BTCUSD_PERP"),
        (BYBIT, "linear", "BTCUSDT"),
        (BYBIT, "spot", "BTCUSDT"),
        (BYBIT, "inverse", "BTCUSD"),
    ],
)
def test_every_spelling_of_a_pair_is_its_symbol(
    listed: dict[str, list[Instrument]], market: str, symbol: str, name: str
) -> None:
    """The default SYMBOLS work everywhere: of contracts in dollars a stablecoin is the dollar."""
    assert ListedNames(market, listed[market]).find([name, symbol]) == ([symbol], {})


@pytest.mark.parametrize(
    ("listed", "market", "name", "symbol"),
    [
        (BYBIT, "linear", "BTCPERP", "BTCPERP"),
        (BYBIT, "linear", "BTC-USDC", "BTCPERP"),
        (BYBIT, "linear", "btc-26dec25", "BTC-26DEC25"),
        (BYBIT, "linear", "WBTC", "WBTCUSDT"),
        (BYBIT, "linear", "币安人生", "币安人生USDT"),
        (BYBIT, "inverse", "BTCUSDH26", "BTCUSDH26"),
        (BYBIT, "spot", "ETH/BTC", "ETHBTC"),
        (BYBIT, "spot", "XRP_RLUSD", "XRPRLUSD"),
        (OKX, "linear", "BTCUSDC", "BTC-USDC-SWAP"),
        (OKX, "linear", "BTC/USDC:USDC", "BTC-USDC-SWAP"),
        (OKX, "inverse", "BTC/USD:BTC", "BTC-USD-SWAP"),
        (OKX, "inverse", "BTCUSD_PERP", "BTC-USD-SWAP"),
        (OKX, "inverse", "BTC-USD-251226", "BTC-USD-251226"),
        (OKX, "spot", "ETHBTC", "ETH-BTC"),
        (BINANCE, "inverse", "BTCUSD", "BTCUSD_PERP"),
        (BINANCE, "inverse", "BTC-USD-SWAP", "BTCUSD_PERP"),
        (BINANCE, "inverse", "BTCUSD_251226", "BTCUSD_251226"),
        (BINANCE, "spot", "币安人生/usdt", "币安人生USDT"),
    ],
)
def test_a_name_is_what_the_listing_says(
    listed: dict[str, list[Instrument]], market: str, name: str, symbol: str
) -> None:
    """An exact name wins; contracts that end are named as the exchange does."""
    assert ListedNames(market, listed[market]).symbol_of(name) == symbol


@pytest.mark.parametrize("name", ["NO", "BTCEUR", "BTC-EUR", "BTC-251226", "BTC-USDT-251226", "A-B-C-D", "-", ""])
@pytest.mark.parametrize("listed", [BYBIT, OKX, BINANCE])
def test_what_is_not_listed_is_no_symbol(listed: dict[str, list[Instrument]], name: str) -> None:
    """Nothing is cut until it fits."""
    assert ListedNames("linear", listed["linear"]).symbol_of(name) is None


def test_an_unknown_name_has_the_nearest_listed_one() -> None:
    """Or none, where nothing is near."""
    names = ListedNames("linear", OKX["linear"])
    assert names.find(["BTC", "BTCUSTD", "BTC-USDT-SWAPS", "XYZ"]) == (
        ["BTC-USDT-SWAP"],
        {"BTCUSTD": "BTC-USDT-SWAP", "BTC-USDT-SWAPS": "BTC-USDT-SWAP", "XYZ": ""},
    )


def test_a_coin_alone_is_quoted_in_the_coin_of_the_setting() -> None:
    """SOL of USDC is SOLPERP, though no name is written so."""
    names = ListedNames("linear", BYBIT["linear"], "USDC")
    assert [names.symbol_of(name) for name in ("SOL", "SOLUSDT", "WBTC")] == ["SOLPERP", "SOLUSDT", None]


def test_a_symbol_with_small_letters_is_found_and_stays_as_it_is() -> None:
    """Exchanges write a few so."""
    assert ListedNames("linear", [Instrument("kPEPE-USDT", "kPEPE", "USDT", 1)]).symbol_of("kpepe") == "kPEPE-USDT"


def test_of_two_symbols_of_a_pair_the_more_traded_is_meant() -> None:
    """The other is named itself."""
    two = [Instrument("AUSDT-OLD", "A", "USDT", 1), Instrument("AUSDT-NEW", "A", "USDT", 2)]
    assert ListedNames("linear", two).find(["A", "AUSDT", "A-USDT", "AUSDT-OLD"]).symbols == ["AUSDT-NEW", "AUSDT-OLD"]


def test_a_name_of_anything_but_a_text_or_of_odd_letters_is_unknown() -> None:
    """Nothing raises."""
    assert ListedNames("spot", OKX["spot"]).find(["€", "ß", "b.t.c"]).symbols == []


# -- recorded listings --------------------------------------------------------------------------------------------


def okx_swaps(data: Path) -> Iterator[tuple[str, Instrument]]:
    rows: list[dict[str, Any]] = json.loads((data / "okx/rest/instruments_SWAP_2022-05-13.json").read_text())["data"]
    for row in rows:
        base, quote = row["uly"].split("-")
        yield row["ctType"], Instrument(row["instId"], base, quote, 1.0)


def binance_rows(data: Path, name: str) -> list[Instrument]:
    rows = json.loads((data / f"binance/rest/{name}_exchangeInfo_2021.json").read_text())["symbols"]
    return [
        Instrument(
            row["symbol"],
            row["baseAsset"],
            row["quoteAsset"],
            1.0,
            is_dated=row.get("contractType", "PERPETUAL") != "PERPETUAL",
        )
        for row in rows
    ]


def test_every_recorded_pair_is_found_by_every_spelling(shared_data: Path) -> None:
    """And no other symbol by it."""
    markets = {
        "linear": [each for kind, each in okx_swaps(shared_data) if kind == "linear"],
        "inverse": [each for kind, each in okx_swaps(shared_data) if kind == "inverse"],
    }
    of_binance = {"linear": "usdm", "inverse": "coinm", "spot": "spot"}
    found = [*markets.items(), *((market, binance_rows(shared_data, name)) for market, name in of_binance.items())]
    count = 0
    for market, listed in found:
        names = ListedNames(market, listed)
        for each in listed:
            assert names.symbol_of(each.symbol) == each.symbol
            if each.is_dated:
                continue
            for spelling in ("{0}{1}", "{0}-{1}", "{0}_{1}", "{0}/{1}", "{0}-{1}-SWAP", "{0}/{1}:{1}", "{0}/{1}:{0}"):
                assert names.symbol_of(spelling.format(each.base.lower(), each.quote)) == each.symbol
                count += 1
    assert count >= 100
