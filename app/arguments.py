"""The arguments of main.py: one parser of every command and option. Pure."""

import argparse

from aggregation.audit.cli import add_arguments
from app import VERSION
from app.watch.choice import add_arguments as add_watch_arguments
from conf.document import help_list

DESCRIPTION = "The market data of an exchange, byte for byte on Redis Pub/Sub, with closed klines."
EPILOG = """\
Settings come from the environment and from .env, or the file that --env-file or ENV_FILE names; .env.example has every
one:
{settings}

Streams of your own: STREAMS in main.py.
Exit codes: 0 asked to stop, 2 wrong settings, 3 an output or the list of symbols cannot be reached, 4 a thread is lost,
5 the stop deadline passed, 6 a stream was given up after RECONNECT_MAX_ATTEMPTS.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command and option."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description=DESCRIPTION,
        epilog=EPILOG.format(settings=help_list()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--env-file", metavar="FILE", help="read settings from this file, as with ENV_FILE=FILE")
    parser.add_argument("--dry-run", action="store_true", help="print what would be streamed, with its limits, and end")
    parser.add_argument("--check-config", action="store_true", help="check settings and STREAMS, open nothing, and end")
    commands = parser.add_subparsers(dest="command", metavar="command", title="commands (none: collect)")
    commands.add_parser("run", help="collect until SIGTERM, SIGINT or SIGHUP")
    check = commands.add_parser(
        "doctor",
        help="check settings, network, exchange, Redis and this machine, with a cure for what is wrong",
        description="Check all that a collector with these settings needs. Changes nothing, and ends within 15 s. Exit "
        "code 0: nothing failed; 2: something to be mended here; 3: something outside is not reached.",
    )
    check.add_argument("--json", action="store_true", help="write one JSON object instead of lines")
    check.add_argument("--env-file", metavar="FILE", default=argparse.SUPPRESS, help="as before the command")
    commands.add_parser("relay", help="run the outputs but those in Redis, on what many collectors publish there")
    commands.add_parser("alert-test", help="send a message to each service that takes alerts")
    commands.add_parser(
        "schema",
        help="print the channels and messages of a collector of these settings, as AsyncAPI with JSON Schema",
        description="Print one JSON document, AsyncAPI 3: servers, channels and messages of these settings.",
    )
    add_watch_arguments(
        commands.add_parser(
            "watch",
            help="show what a running collector publishes: prices, klines, trades, status, raw payloads",
            description="Show what a running collector of the same settings publishes on Redis, until Ctrl-C.",
        )
    )
    add_arguments(
        commands.add_parser(
            "audit",
            help="compare past klines with the exchange's own candles",
            description="Compare closed klines with the exchange's own candles; exit code 0: all equal.",
        )
    )
    return parser
