"""ccxt, unmodified but for its URLs, reads each simulated exchange: it is not merely what our own client expects."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from model.intervals import MINUTE_MS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ccxt = pytest.importorskip("ccxt")
pro = pytest.importorskip("ccxt.pro")

MARKETS = {"BTC/USDT": "spot", "BTC/USDT:USDT": "linear", "BTC/USD:BTC": "inverse"}


@dataclass(frozen=True)
class Exchange:
    """What differs between exchanges.

    `symbols`: of BTC by market, of which inverse may be missing. `address(client, simulator)` sets the URLs of ccxt.
    `contract`: coins of the linear one, `in_contracts` whether ccxt gives the volumes of its candles so. `ask(client)`
    for a symbol that is none, for which ccxt raises `error` with a text. `are_consecutive`: the ids of its trades.
    `client`: ccxt's name where it is another. `has_quiet`: quiet minutes are in the candles as soon as they are over.
    `levels`: of a book that may be asked for. `without_ids`: the markets whose trades have none. `inactive`: how many
    markets it lists that are not traded.
    """

    name: str
    symbols: Mapping[str, str]
    address: Callable[[Any, SimulatorProcess], None]
    contract: float
    ask: Callable[[Any], object]
    in_contracts: bool = False
    error: tuple[type[Exception], str] = (ccxt.BadSymbol, ".")
    are_consecutive: bool = True
    client: str = ""
    has_quiet: bool = True
    levels: int = 50
    without_ids: Sequence[str] = ()
    inactive: int = 0


def address_okx(made: Any, simulator: SimulatorProcess) -> None:
    """REST, and the sockets where the client has them."""
    made.urls["api"] |= {"rest": simulator.rest_url, "ws": f"{simulator.ws_base}/ws/v5"}


def address_binance(made: Any, simulator: SimulatorProcess) -> None:
    """REST, and the sockets, where spot is told by /stream in its URL."""
    urls = made.urls["api"]
    urls |= {"public": f"{simulator.rest_url}/api/v3", "fapiPublic": f"{simulator.rest_url}/fapi/v1"}
    urls |= {"dapiPublic": f"{simulator.rest_url}/dapi/v1"}
    if "ws" in urls:
        sockets = {"spot": "ws/stream", "linear": "ws", "inverse": "ws"}
        urls["ws"] |= {market: f"{simulator.ws_base}/{path}" for market, path in sockets.items()}
    made.options["fetchCurrencies"] = False  # needs a key


def address_gate(made: Any, simulator: SimulatorProcess) -> None:
    """REST, and the sockets: ccxt asks for those of each market by its quote."""
    rest, urls = f"{simulator.rest_url}/api/v4", made.urls["api"]
    urls["public"] = dict.fromkeys(urls["public"], rest)
    if "spot" in urls:
        urls |= {"spot": f"{simulator.ws_base}/ws/v4/", "swap": {"usdt": f"{simulator.ws_base}/v4/ws/usdt"}}
    made.options["fetchCurrencies"] = False


def address_bitget(made: Any, simulator: SimulatorProcess) -> None:
    """REST, and the socket of both markets."""
    urls = made.urls["api"]
    sockets = urls.pop("ws", None)
    urls |= dict.fromkeys(urls, simulator.rest_url)
    if sockets is not None:
        urls["ws"] = {**sockets, "public": f"{simulator.ws_base}/v2/ws/public"}


def address_kucoin(made: Any, simulator: SimulatorProcess) -> None:
    """REST of both markets; it gives the address of the sockets."""
    made.urls["api"] |= dict.fromkeys(("public", "futuresPublic"), simulator.rest_url)


def address_bingx(made: Any, simulator: SimulatorProcess) -> None:
    """REST, and the sockets of each market."""
    urls = made.urls["api"]
    sockets = urls.pop("ws", None)
    urls |= dict.fromkeys(urls, f"{simulator.rest_url}/openApi")
    if sockets is not None:
        base = simulator.ws_base
        urls["ws"] = {**sockets, "spot": f"{base}/market", "linear": f"{base}/swap-market"}
    made.options["fetchCurrencies"] = False  # needs a key


EXCHANGES = [
    Exchange(
        "okx",
        {"spot": "BTC-USDT", "linear": "BTC-USDT-SWAP", "inverse": "BTC-USD-SWAP"},
        address_okx,
        0.01,
        lambda made: made.public_get_market_ticker({"instId": "NONE-USDT"}),
    ),
    Exchange(
        "binance",
        {"spot": "BTCUSDT", "linear": "BTCUSDT", "inverse": "BTCUSD_PERP"},
        address_binance,
        1,
        lambda made: made.public_get_klines({"symbol": "NONEUSDT", "interval": "1m"}),
    ),
    Exchange(
        "gate",
        {"spot": "BTC_USDT", "linear": "BTC_USDT"},
        address_gate,
        0.0001,
        lambda made: made.public_spot_get_trades({"currency_pair": "NONE_USDT"}),
        in_contracts=True,
    ),
    Exchange(
        "bitget",
        {"spot": "BTCUSDT", "linear": "BTCUSDT"},
        address_bitget,
        1,
        lambda made: made.public_spot_get_v2_spot_market_fills({"symbol": "NONEUSDT"}),
        error=(ccxt.ExchangeError, "40034"),  # a code that it does not know
        are_consecutive=False,
    ),
    Exchange(
        "kucoin",
        {"spot": "BTC-USDT", "linear": "XBTUSDTM"},
        address_kucoin,
        0.001,
        lambda made: made.public_get_market_histories({"symbol": "NONE-USDT"}),
        in_contracts=True,
        error=(ccxt.ExchangeError, "200003"),  # a code that it does not know
        has_quiet=False,
        are_consecutive=False,
        levels=100,
    ),
    Exchange(
        "kucoin",
        {"linear": "XBTUSDTM"},
        address_kucoin,
        0.001,
        lambda made: made.futurespublic_get_trade_history({"symbol": "NONEUSDTM"}),
        in_contracts=True,
        error=(ccxt.NotSupported, "404000"),
        client="kucoinfutures",
        has_quiet=False,
        are_consecutive=False,
        levels=100,
    ),
    Exchange(
        "bingx",
        {"spot": "BTC-USDT", "linear": "BTC-USDT"},
        address_bingx,
        1,
        lambda made: made.swap_v2_public_get_quote_trades({"symbol": "NONE-USDT"}),
        without_ids=("linear",),
        inactive=2,
    ),
]
each_market = pytest.mark.parametrize(
    ("exchange", "symbol"),
    [
        pytest.param(each, symbol, id=f"{each.client or each.name}-{symbol}")
        for each in EXCHANGES
        for symbol, market in MARKETS.items()
        if market in each.symbols
    ],
    indirect=["exchange"],
)


@pytest.fixture(params=EXCHANGES, ids=lambda each: each.client or each.name)
def exchange(request):
    """One after the other."""
    return request.param


@pytest.fixture
def simulator(exchange):
    """A busy market of few symbols."""
    with SimulatorProcess("--rate", 400, "--symbols", 3, "--illiquid", 0, exchange=exchange.name) as process:
        yield process


@pytest.fixture
def client(exchange, simulator):
    """ccxt's client of REST."""
    made = getattr(ccxt, exchange.client or exchange.name)()
    exchange.address(made, simulator)
    return made


def watched(exchange: Exchange, simulator: SimulatorProcess, watch: Callable[[Any], Awaitable[Any]]) -> Any:
    """What ccxt's client of the sockets brings."""

    async def run() -> Any:
        made = getattr(pro, exchange.client or exchange.name)()
        exchange.address(made, simulator)
        try:
            return await asyncio.wait_for(watch(made), 60)
        finally:
            await made.close()

    return asyncio.run(run())


def test_markets(exchange, client):
    """Contracts, their sizes, coins and steps; a symbol that is none is known by the exchange's code."""
    markets = client.load_markets()
    swap = markets["BTC/USDT:USDT"]

    assert {symbol for symbol, market in MARKETS.items() if market in exchange.symbols} < set(markets)
    assert len(markets) == 3 * len(exchange.symbols) + exchange.inactive
    assert (swap["contractSize"], swap["linear"], swap["settle"]) == (exchange.contract, True, "USDT")
    assert swap["precision"]["price"] == 0.1
    if (inverse := markets.get("BTC/USD:BTC")) is not None:
        assert (inverse["contractSize"], inverse["inverse"], inverse["settle"]) == (100, True, "BTC")
    assert sum(not market["active"] for market in markets.values()) == exchange.inactive
    error, text = exchange.error
    with pytest.raises(error, match=text):
        exchange.ask(client)


@each_market
def test_rest(exchange, simulator, client, symbol):
    """The true candles, with ccxt's volume in the base coin; trades in order, a book not crossed, a last price."""
    market = MARKETS[symbol]
    found = client.fetch_ohlcv(symbol, "1m", limit=100)[:-1]
    true = {row["start"]: row for row in simulator.klines(exchange.symbols[market], MINUTE_MS, market)}
    volume = "turnover" if market == "inverse" else "volume"

    assert len(found) == 99 or not exchange.has_quiet
    traded = {start for start, row in true.items() if row["trade_count"] and start >= found[0][0]}
    assert traded - {max(traded)} <= {row[0] for row in found}
    size = exchange.contract if exchange.in_contracts and market == "linear" else 1
    for start, *numbers in found:
        expected = [float(true[start][key]) for key in ("open", "high", "low", "close", volume)]
        assert numbers[:4] == expected[:4]
        assert round(numbers[4] * size, 12) == round(expected[4], 12)
    assert {row[0] % 86_400_000 for row in client.fetch_ohlcv(symbol, "1d", limit=5)} == {0}

    wait_until(lambda: len(client.fetch_trades(symbol, limit=20)) == 20, 30)
    trades, book = client.fetch_trades(symbol, limit=20), client.fetch_order_book(symbol, exchange.levels)
    times = [trade["timestamp"] for trade in trades]
    assert times == sorted(times)
    if market in exchange.without_ids:
        assert {trade["id"] for trade in trades} == {None}
    else:
        ids = [int(trade["id"] or trade["info"]["sequence"]) for trade in trades]  # REST of KuCoin's spot has no ids
        assert ids == (list(range(ids[0], ids[0] + 20)) if exchange.are_consecutive else sorted(set(ids)))
    assert len(book["bids"]) == len(book["asks"]) == exchange.levels
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.fetch_ticker(symbol)["last"] > 0
    assert symbol in client.fetch_tickers([symbol])


@each_market
def test_sockets(exchange, simulator, symbol):
    """Trades, a book over twenty changes (ccxt checks its chain of ids), a ticker, candles."""

    async def watch(made: Any) -> Any:
        trades = await made.watch_trades(symbol)
        for _ in range(20):
            book = await made.watch_order_book(symbol)
        return trades, book, await made.watch_ticker(symbol), await made.watch_ohlcv(symbol, "1m")

    trades, book, ticker, candles = watched(exchange, simulator, watch)

    assert trades[-1]["symbol"] == ticker["symbol"] == symbol
    assert book["bids"][0][0] < book["asks"][0][0]
    assert ticker["last"] > 0
    assert candles[-1][0] % MINUTE_MS == 0
