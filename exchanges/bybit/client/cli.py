"""`python -m exchanges.bybit.client`: history, prices, books and instruments for people and scripts.

Results go to standard output, everything else to standard error. Ends with one of cli_options.EXIT_CODES.
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

from exchanges.bybit.client.cli_options import parser
from exchanges.bybit.client.clients import BybitClient
from exchanges.bybit.client.data_needs import MissingLibraryError
from exchanges.bybit.client.errors import BybitError, RequestError
from exchanges.bybit.client.results import rows_of

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
        _tell_file(options, options.out, len(frame))
    elif options.json:
        sys.stdout.write(frame.reset_index().to_json(orient="records", date_format="iso") + "\n")
    else:
        frame.to_csv(sys.stdout)


def _plot(client: Client, options: argparse.Namespace) -> None:
    from exchanges.bybit.client.plot import write_chart

    frame = _history(client, options)
    out = options.out or Path(f"{options.symbol}-{options.interval}.html")
    write_chart(frame, f"{options.symbol} {options.interval}", out)
    _tell_file(options, out, len(frame))


def _ticker(client: Client, options: argparse.Namespace) -> None:
    row = _first(client.market.get_tickers(category=options.category, symbol=options.symbol), options)
    if options.json:
        _tell_json(row)
    else:
        _table((name, row[name]) for name in TICKER if row.get(name))


def _orderbook(client: Client, options: argparse.Namespace) -> None:
    book = client.market.get_orderbook(category=options.category, symbol=options.symbol, limit=options.depth)
    if options.json:
        _tell_json(book)
        return
    _ = book.model  # raises where these are no levels
    asks = [("ask", *level[:2]) for level in reversed(book.get("a") or [])]
    _table([("", "price", "size"), *asks, *[("bid", *level[:2]) for level in book.get("b") or []]])


def _instruments(client: Client, options: argparse.Namespace) -> None:
    found = client.market.iter_instruments(
        category=options.category, status=options.status, base_coin=options.base_coin
    )
    if options.json:
        _tell_json([instrument.model_dump(mode="json", by_alias=True) for instrument in found])
    else:
        _table([INSTRUMENT, *map(_instrument_cells, found)])


COMMANDS: Mapping[str, Callable[[Client, argparse.Namespace], None]] = {
    "klines": _klines,
    "plot": _plot,
    "ticker": _ticker,
    "orderbook": _orderbook,
    "instruments": _instruments,
}


# what they share


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


def _tell_file(options: argparse.Namespace, path: Path, count: int) -> None:
    if options.json:
        _tell_json({"file": str(path), "candles": count})
    else:
        sys.stdout.write(f"{count} candles in {path}\n")


def _tell_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def _table(rows: Iterable[Sequence[Any]]) -> None:
    """Columns as wide as their widest cell."""
    cells = [[str(value) if value is not None else "" for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        sys.stdout.write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")
