"""`python -m feed klines BTCUSDT 1m --csv`: a collector read from a shell. It prints, and ends where it is told to."""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence

from .client import DEFAULT, Feed
from .records import FeedError
from .table import Table


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, print, and return the exit code: 1 where something cannot be read."""
    asked = _parser().parse_args(arguments)
    options = {"http": asked.http} if asked.http else {}
    try:
        with Feed(asked.address, user=asked.user, key=asked.key, market=asked.market, **options) as feed:
            COMMANDS[asked.command](feed, asked)
    except FeedError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a program that prints
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # | head
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def klines(feed: Feed, asked: argparse.Namespace) -> None:
    """Print klines of the past, and with --live those that close."""
    if not asked.live:
        last = asked.last if asked.last is not None or asked.start else 500
        table = feed.table(asked.symbol, asked.interval, last=last, start=asked.start, end=asked.end, exact=True)
        _print(table, asked, is_first=True)
        if table.note:
            print(table.note, file=sys.stderr)  # noqa: T201
        return
    is_first = True
    for kline in feed.live(asked.symbol, asked.interval, last=asked.last or 0, start=asked.start):
        _print(Table.of([kline], asked.interval, exact=True), asked, is_first=is_first)
        is_first = False


def book(feed: Feed, asked: argparse.Namespace) -> None:
    """Print an order book, and with --live each change."""
    for state in feed.book(asked.symbol[0]):
        print(json.dumps({**state._asdict()}), flush=True)  # noqa: T201
        if not asked.live:
            return


def trades(feed: Feed, asked: argparse.Namespace) -> None:
    """Print trades as they come."""
    for trade in feed.trades(asked.symbol[0]):
        print(json.dumps(trade._asdict()), flush=True)  # noqa: T201


def status(feed: Feed, asked: argparse.Namespace) -> None:
    """Print the status, and with --live events as they happen."""
    print(json.dumps(feed.status(), indent=1), flush=True)  # noqa: T201
    if asked.live:
        feed.on("*", lambda event: print(json.dumps(event), flush=True))  # noqa: T201
        feed.wait()


COMMANDS = {"klines": klines, "book": book, "trades": trades, "status": status}


def _print(table: Table, asked: argparse.Namespace, *, is_first: bool) -> None:
    if asked.csv:
        table.to_csv(sys.stdout, header=is_first)
    elif asked.json:
        table.to_json(sys.stdout)
    elif asked.live:
        print("  ".join(repr(table).splitlines()[-1:]))  # noqa: T201
    else:
        print(repr(table))  # noqa: T201
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m feed", description="Read a running collector.")
    parser.add_argument("--address", default=DEFAULT, help="redis://, ws:// or http:// (default: %(default)s)")
    parser.add_argument("--http", help="the collector's port (default: 9500 of the same host)")
    parser.add_argument("--user", default=os.environ.get("WSS_AUTH_USER", ""), help="or WSS_AUTH_USER")
    parser.add_argument("--key", default=os.environ.get("WSS_AUTH_KEY", ""), help="or WSS_AUTH_KEY")
    parser.add_argument("--market", help="linear, inverse or spot (default: the collector's main one)")
    commands = parser.add_subparsers(dest="command", required=True)
    each = commands.add_parser("klines", help="closed klines")
    each.add_argument("symbol", type=lambda text: text.split(","), help="one, or several with commas")
    each.add_argument("interval", nargs="?", default="1m")
    each.add_argument("--last", type=int, help="so many (default: 500)")
    each.add_argument("--start", help="2026-11-30T14:00, UTC")
    each.add_argument("--end")
    each.add_argument("--live", action="store_true", help="go on with those that close")
    form = each.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true")
    form.add_argument("--json", action="store_true", help="an object a line")
    for name in ("book", "trades"):
        each = commands.add_parser(name)
        each.add_argument("symbol", type=lambda text: text.split(","))
        each.add_argument("--live", action="store_true", help="go on")
    commands.add_parser("status").add_argument("--live", action="store_true", help="go on with events")
    return parser


if __name__ == "__main__":
    sys.exit(main())
