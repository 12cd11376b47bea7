"""`python -m exchanges.bybit.client`: history, prices, books and instruments for people and scripts.

Results go to standard output, everything else to standard error. Ends with one of EXIT_CODES.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from exchanges.bybit.client.clients import BybitClient
from exchanges.bybit.client.errors import BybitError, MissingLibraryError, RequestError
from exchanges.bybit.client.market import interval_name
from exchanges.bybit.client.results import rows_of
from exchanges.bybit.client.times import to_ms
from model.symbols import canonical

ENDINGS = {"klines": (".parquet", ".csv"), "plot": (".html", ".png")}
EXIT_CODES = "exit codes: 0 done, 1 the exchange or the network failed, 2 wrong arguments, 3 a library is missing"
DONE, FAILED, WRONG, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130
TICKER = ("symbol", "lastPrice", "bid1Price", "ask1Price", "price24hPcnt", "volume24h", "fundingRate", "openInterest")
INSTRUMENT = ("symbol", "status", "baseCoin", "quoteCoin", "tick size", "quantity step", "launched")

Client = BybitClient[Any]


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = parser().parse_args(words)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        return _run(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _run(options: argparse.Namespace) -> int:
    try:
        with BybitClient(
            testnet=options.testnet, url=options.url, data_dir=getattr(options, "data_dir", None)
        ) as client:
            COMMANDS[options.command](client, options)
            sys.stdout.flush()
    except MissingLibraryError as error:
        return _failed(INCOMPLETE, str(error))
    except BybitError as error:
        is_ours = isinstance(error, RequestError) and error.http_status is None
        return _failed(WRONG if is_ours else FAILED, str(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _failed(FAILED, str(error))
    return DONE


def _failed(code: int, text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return code


# commands


def _klines(client: Client, options: argparse.Namespace) -> None:
    frame = _history(client, options)
    if options.out is not None:
        client.data.save_klines(frame, options.out)
        _write_file_line(options, options.out, len(frame))
    elif options.json:
        sys.stdout.write(frame.reset_index().to_json(orient="records", date_format="iso") + "\n")
    else:
        frame.to_csv(sys.stdout)


def _plot(client: Client, options: argparse.Namespace) -> None:
    from exchanges.bybit.client.plot import write_chart

    frame = _history(client, options)
    out = options.out or Path(f"{options.symbol}-{options.interval}.html")
    write_chart(frame, f"{options.symbol} {options.interval}", out)
    _write_file_line(options, out, len(frame))


def _ticker(client: Client, options: argparse.Namespace) -> None:
    row = _first(client.market.get_tickers(category=options.category, symbol=options.symbol), options)
    if options.json:
        _write_json(row)
    else:
        _table((name, row[name]) for name in TICKER if row.get(name))


def _orderbook(client: Client, options: argparse.Namespace) -> None:
    book = client.market.get_orderbook(category=options.category, symbol=options.symbol, limit=options.depth)
    if options.json:
        _write_json(book)
        return
    _ = book.model  # raises where these are no levels
    asks = [("ask", *level[:2]) for level in reversed(book.get("a") or [])]
    _table([("", "price", "size"), *asks, *[("bid", *level[:2]) for level in book.get("b") or []]])


def _instruments(client: Client, options: argparse.Namespace) -> None:
    found = client.market.iter_instruments(
        category=options.category, status=options.status, base_coin=options.base_coin
    )
    if options.json:
        _write_json([instrument.model_dump(mode="json", by_alias=True) for instrument in found])
    else:
        _table([INSTRUMENT, *map(_instrument_cells, found)])


COMMANDS: Mapping[str, Callable[[Client, argparse.Namespace], None]] = {
    "klines": _klines,
    "plot": _plot,
    "ticker": _ticker,
    "orderbook": _orderbook,
    "instruments": _instruments,
}


# what the commands share


def _history(client: Client, options: argparse.Namespace) -> Any:
    frame = client.data.fetch_historical_klines(
        options.symbol,
        options.interval,
        options.start,
        options.end,
        not options.no_cache,
        category=options.category,
    )
    if not len(frame):
        raise BybitError(f"{options.symbol} has no candles in that time")
    return frame


def _first(result: Mapping[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    rows = [row for row in rows_of(result) if isinstance(row, dict)]
    if not rows:
        raise BybitError(f"no such symbol in {options.category}: {options.symbol}")
    return dict(rows[0])


def _instrument_cells(instrument: Any) -> tuple[Any, ...]:
    sizes = instrument.lot_size_filter
    day = _day(instrument.launch_time)
    step = sizes.qty_step or sizes.base_precision
    coins = (instrument.base_coin, instrument.quote_coin)
    return (instrument.symbol, instrument.status, *coins, instrument.price_filter.tick_size, step, day)


def _day(time_ms: int | None) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat() if time_ms else ""


def _write_file_line(options: argparse.Namespace, path: Path, count: int) -> None:
    if options.json:
        _write_json({"file": str(path), "candles": count})
    else:
        sys.stdout.write(f"{count} candles in {path}\n")


def _write_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _table(rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell."""
    cells = [[str(value) if value is not None else "" for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        sys.stdout.write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")


# options


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(
        prog="python -m exchanges.bybit.client", description="Bybit's market data, without a key.", epilog=EXIT_CODES
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    klines = commands.add_parser("klines", help="candles of any span, to a .parquet or .csv file or as CSV")
    plot = commands.add_parser("plot", help="a candle chart as an .html or .png file")
    for history in (klines, plot):
        _add_span(history)
    klines.add_argument("--out", type=_file("klines"), help=".parquet or .csv (standard output, as CSV)")
    plot.add_argument("--out", type=_file("plot"), help=".html or .png (SYMBOL-INTERVAL.html)")
    ticker = commands.add_parser("ticker", help="price, volume, funding of a symbol")
    book = commands.add_parser("orderbook", help="bids and asks of a symbol")
    book.add_argument("--depth", type=_count, default=10, metavar="N", help="levels a side (10)")
    for one in (ticker, book):
        one.add_argument("symbol", type=canonical)
    instruments = commands.add_parser("instruments", help="what is traded, and in which steps")
    instruments.add_argument("--status", help="Trading, PreLaunch, ...")
    instruments.add_argument("--base-coin", help="of options above all")
    for command in (klines, plot, ticker, book, instruments):
        _add_common(command)
    return top


def _add_span(command: argparse.ArgumentParser) -> None:
    command.add_argument("symbol", type=canonical)
    command.add_argument("interval", type=_interval, help="1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w 1M")
    command.add_argument("--from", dest="start", type=_time, required=True, metavar="TIME", help="2023-01-01, UTC")
    command.add_argument("--to", dest="end", type=_time, metavar="TIME", help="not included; now where not given")
    command.add_argument("--no-cache", action="store_true", help="fetch everything anew, keep nothing")
    command.add_argument("--data-dir", help="where candles are kept (~/.cache/bybit-client)")


def _add_common(command: argparse.ArgumentParser) -> None:
    categories = ["linear", "inverse", "spot", "option"]
    command.add_argument("--category", default="linear", choices=categories, help="(linear)")
    command.add_argument("--testnet", action="store_true", help="Bybit's test network")
    command.add_argument("--url", help="another address: http://127.0.0.1:8080")
    command.add_argument("--json", action="store_true", help="JSON for programs")


def _time(text: str) -> int:
    try:
        return to_ms(text)
    except RequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interval(text: str) -> str:
    try:
        interval_name(text)
    except RequestError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to 1000")
    return int(text)


class _file:  # noqa: N801 - argparse names the type in its messages
    """A path that ends as the command can write it."""

    def __init__(self, command: str) -> None:
        self._endings = ENDINGS[command]

    def __call__(self, text: str) -> Path:
        if Path(text).suffix.lower() not in self._endings:
            raise argparse.ArgumentTypeError(f"{text!r} ends neither in {' nor in '.join(self._endings)}")
        return Path(text)
