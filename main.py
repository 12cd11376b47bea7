"""The collector: what to stream, and how the rooms are joined.

`python main.py` runs it; a script of your own may import STREAMS, append to it and call `run()`. The main thread
starts the others, watches them, and stops them in order. No payload passes through here.
"""

import sys

if __name__ == "__main__":  # before the imports below, which take a second
    from app import startup

    startup.begin(None if sys.argv[1:2] == ["audit"] else 0)

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from aggregation.audit.cli import Defaults, run_audit
from aggregation.service import compared_fields
from app.cli import AUDIT, RELAY, wants_dry_run
from app.collector import Collector
from app.exits import Exit
from app.process import carry_out, refuse, set_up
from app.relay import OutputRelay
from app.signals import stop_on_signals
from conf.settings import Settings, load_settings
from exchanges.registry import VENUES
from model.ports import HistoryError
from model.records import Kind
from network.report import describe_network

STREAMS_SHARE, AGGREGATOR_SHARE = 0.4, 0.6  # of the stop deadline: when they must be done; the outputs have the rest

Callback = Callable[[bytes], Any]
Symbols = str | Sequence[str]

log = structlog.get_logger()

# -- what to stream -------------------------------------------------------------------------------------------

STREAMS: list[dict[str, Any]] = []
"""One supervised, reconnecting thread per entry. `run` adds what the settings ask for; the list may grow while it runs.

    STREAMS.append({
        "name": "Trades_ETHUSDT",
        "func": subscribe_trades,
        "args": ("ETHUSDT", handle_trades),
    })
"""


def subscribe_trades(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream trades of a symbol or a list of symbols (one connection) to `callback`, exact bytes.

    Blocks until the connection ends; meant as the "func" of a STREAMS entry. `market` is linear, inverse, spot or
    option; None is the callback's own, else CHANNEL_TYPE. What handle_trades is given goes to the channel, klines and
    records of that market: `stream:bybit_trades` of CHANNEL_TYPE, `stream:bybit_inverse_trades` of inverse beside it.
    """
    _stream("trades", symbols, callback, market)


def subscribe_orderbook(
    symbols: Symbols, callback: Callback, market: str | None = None, depth: int | None = None
) -> None:
    """Stream order books like `subscribe_trades`; `depth` is 1, 50, 200 or 1000, None is ORDERBOOK_DEPTH."""
    _stream("orderbook", symbols, callback, market, depth)


def subscribe_ticker(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream tickers like `subscribe_trades`."""
    _stream("ticker", symbols, callback, market)


def subscribe_liquidations(symbols: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream liquidations like `subscribe_trades`; spot has none."""
    _stream("liquidations", symbols, callback, market)


def subscribe_topics(topics: Symbols, callback: Callback, market: str | None = None) -> None:
    """Stream any other topics of the exchange, e.g. "kline.5.BTCUSDT", like `subscribe_trades`."""
    _stream("topics", topics, callback, market)


# Add your own streams here.


SUBSCRIBE: dict[Kind, Callable[..., None]] = {
    "trades": subscribe_trades,
    "orderbook": subscribe_orderbook,
    "ticker": subscribe_ticker,
    "liquidations": subscribe_liquidations,
    "topics": subscribe_topics,
}


# -- the collector --------------------------------------------------------------------------------------------


_collector: Collector | None = None  # the one that runs: a STREAMS entry names a function, not a collector


def _run_streams_of(collector: Collector | None) -> None:
    global _collector
    _collector = collector


def _stream(kind: Kind, symbols: Symbols, callback: Callback, market: str | None, depth: int | None = None) -> None:
    if _collector is None:
        raise RuntimeError(f"subscribe_{kind} needs a running collector: put it in a STREAMS entry and call run()")
    _collector.streams.run(SUBSCRIBE[kind], symbols, callback, market, depth)


# -- outputs in a process of their own ------------------------------------------------------------------------


# -- running --------------------------------------------------------------------------------------------------


def _collect_streams(settings: Settings) -> Collector:
    return Collector(settings, STREAMS, SUBSCRIBE)


def run(settings: Settings | None = None) -> int:
    """Collect until asked to stop by SIGTERM, SIGINT or SIGHUP; returns the exit code (app.exits).

    `settings` None: from the environment and .env. Signals are heard only where this is the main thread.
    """
    return carry_out(settings, _collect_streams)


def relay(settings: Settings | None = None) -> int:
    """Run the outputs but those in Redis, on what collectors publish there, until asked to stop; the exit code."""
    return carry_out(settings, OutputRelay)


def dry_run(settings: Settings | None = None) -> int:
    """Print what would be streamed and end; returns the exit code that a start would end with, 0 where it would run."""
    try:
        collector = set_up(settings, _collect_streams)
    except (ValueError, OSError) as error:
        return refuse(error)
    with stop_on_signals() as stop:
        code = int(collector.choose_symbols(stop) or Exit.ASKED)
    try:
        sys.stdout.write("" if code else collector.streams.text())
    except ValueError as error:
        code = refuse(error)
    collector.stop()
    return code


def audit(arguments: Sequence[str], settings: Settings | None = None) -> int:
    """Compare past klines with the exchange's own candles, as `main.py audit --help` says; returns the exit code."""
    try:
        settings = settings or load_settings()
        history = VENUES[settings.exchange].history_of(settings)
        describe_network([history(settings.channel_type).url])
    except ValueError as error:
        return refuse(error)
    path = settings.file_consumer_base_path / settings.exchange
    fields = compared_fields(prev_close_opens=settings.kline_open == "prev_close")
    return run_audit(arguments, Defaults(settings.channel_type, path, fields), history, HistoryError)


if __name__ == "__main__":
    sys.modules["main"] = sys.modules[__name__]  # whoever imports main finds this STREAMS, not a second one
    if sys.argv[1:2] == [AUDIT]:
        startup.leave(audit(sys.argv[2:]))
    if sys.argv[1:2] == [RELAY]:
        startup.leave(relay())
    startup.leave(dry_run() if wants_dry_run(sys.argv[1:]) else run())
