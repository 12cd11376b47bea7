"""The command line's words. Pure; opens nothing."""

import argparse
from pathlib import Path

from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.market import interval_name
from exchanges.bybit.client.times import to_ms
from model.symbols import canonical

ENDINGS = {"klines": (".parquet", ".csv"), "plot": (".html", ".png")}
EXIT_CODES = "exit codes: 0 done, 1 the exchange or the network failed, 2 wrong words, 3 a library is missing"


def parser() -> argparse.ArgumentParser:
    """Every command with its options."""
    top = argparse.ArgumentParser(
        prog="python -m exchanges.bybit.client", description="Bybit's market data, without a key.", epilog=EXIT_CODES
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    klines = commands.add_parser("klines", help="candles of any span, to a .parquet or .csv file or as CSV")
    plot = commands.add_parser("plot", help="a candle chart as an .html or .png file")
    for history in (klines, plot):
        _history(history)
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
        _common(command)
    return top


def _history(command: argparse.ArgumentParser) -> None:
    command.add_argument("symbol", type=canonical)
    command.add_argument("interval", type=_interval, help="1m 3m 5m 15m 30m 1h 2h 4h 6h 12h 1d 1w 1M")
    command.add_argument("--from", dest="start", type=_time, required=True, metavar="TIME", help="2023-01-01, UTC")
    command.add_argument("--to", dest="end", type=_time, metavar="TIME", help="not included; now where not given")
    command.add_argument("--no-cache", action="store_true", help="fetch everything anew, keep nothing")
    command.add_argument("--data-dir", help="where candles are kept (~/.cache/bybit-client)")


def _common(command: argparse.ArgumentParser) -> None:
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
