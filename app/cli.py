"""The command line of main.py: one parser, and what each of its commands runs.

Main thread. `python main.py` alone collects.
"""

import argparse
import functools
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from aggregation.audit.cli import Defaults, add_arguments, run_audit
from aggregation.audit.compare import compared_fields, is_left_out
from aggregation.klines.arithmetic import PLAIN
from app import VERSION
from app.collector import Collector
from app.entries import Subscribe
from app.exits import Exit
from app.first_light import log_plan
from app.options import arithmetics, rest_of
from app.printed import printing
from app.process import exit_with_settings_error, prepare, run_service
from app.relay import OutputRelay
from app.signals import stop_on_signals
from app.venue_checks import check_settings
from app.watch.choice import add_arguments as add_watch_arguments
from conf.document import help_list
from conf.env_file import ENV_FILE
from conf.settings import Settings, load_settings
from exchanges.registry import VENUES
from model.clock import now_ms
from network.report import describe_network

Streams = list[dict[str, Any]]

DESCRIPTION = "The market data of an exchange, byte for byte on Redis Pub/Sub, with closed klines."
EPILOG = """\
Settings come from the environment and from .env, or the file that --env-file or ENV_FILE names; .env.example has every
one:
{settings}

Streams of your own: STREAMS in main.py.
Exit codes: 0 asked to stop, 2 wrong settings, 3 an output or the list of symbols cannot be reached, 4 a thread is lost,
5 the stop deadline passed, 6 a stream was given up after RECONNECT_MAX_ATTEMPTS.
"""


def main(arguments: Sequence[str], streams: Streams, subscribe: Subscribe) -> int:
    """Run the command of the command line; returns the exit code. SystemExit after --help, 2 for a wrong argument.

    OUTPUT_UNREACHABLE where what it prints cannot be written, and nothing else is wrong.
    """
    asked = argparse.Namespace()

    def run_command() -> int | None:
        parser().parse_args(list(arguments), asked)
        if asked.env_file:
            os.environ[ENV_FILE] = asked.env_file
        return _print(asked, streams, subscribe)

    code = printing(run_command)
    if code is not None:
        return code
    return relay() if asked.command == "relay" else run(streams, subscribe)


def _print(asked: argparse.Namespace, streams: Streams, subscribe: Subscribe) -> int | None:
    """Run a command that prints something and ends; returns the exit code, None where another one is asked for."""
    if asked.command == "audit":
        return audit(asked)
    if asked.command == "alert-test":
        return alert_test()
    if asked.command == "watch":
        return watch(asked)
    if asked.command == "schema":
        return schema(sys.stdout)
    if asked.command == "doctor":
        from app.doctor.command import doctor  # late: collecting does without

        return doctor(streams, subscribe, sys.stdout, as_json=asked.json)
    if asked.command != "relay" and (asked.dry_run or asked.check_config):
        return dry_run(streams, subscribe, is_offline=asked.check_config)
    return None


def run(streams: Streams, subscribe: Subscribe, settings: Settings | None = None) -> int:
    """Collect `streams` until asked to stop by SIGTERM, SIGINT or SIGHUP; returns the exit code."""
    return run_service(settings, functools.partial(Collector, streams=streams, subscribe=subscribe))


def relay(settings: Settings | None = None) -> int:
    """Run the outputs but those in Redis, on what collectors publish there, until asked to stop; the exit code."""
    return run_service(settings, OutputRelay)


def alert_test() -> int:
    """Send a message to each service that takes alerts, and print whether it was taken; returns the exit code."""
    from app.alerts.trial import send_test  # apprise is an extra

    return send_test()


def watch(asked: argparse.Namespace, settings: Settings | None = None) -> int:
    """Show what a collector of these settings publishes, as `main.py watch --help` describes; the exit code."""
    from app.watch.command import run_watch  # no other command needs it

    try:
        settings = settings or load_settings()
        check_settings(settings, VENUES[settings.exchange])
    except ValueError as error:
        return exit_with_settings_error(error)
    return run_watch(asked, settings)


def schema(output: TextIO, settings: Settings | None = None) -> int:
    """Print what a collector of these settings sends and takes, as AsyncAPI; returns the exit code."""
    from app.schema.document import document  # no other command needs it

    try:
        settings = settings or load_settings()
        check_settings(settings, VENUES[settings.exchange])
    except ValueError as error:
        return exit_with_settings_error(error)
    output.write(json.dumps(document(settings), indent=2) + "\n")
    return int(Exit.ASKED)


def dry_run(
    streams: Streams, subscribe: Subscribe, settings: Settings | None = None, *, is_offline: bool = False
) -> int:
    """Print what would be streamed and end; returns the exit code that a start would end with, 0 where it would run.

    `is_offline`: only check settings and entries; nothing is requested from the exchange.
    """
    try:
        build = functools.partial(Collector, streams=streams, subscribe=subscribe)
        collector = prepare(settings, build, logs_to_file=not is_offline)
    except (ValueError, OSError) as error:
        return exit_with_settings_error(error)
    if is_offline:
        collector.stop()
        sys.stdout.write("The settings and STREAMS are right.\n")
        return int(Exit.ASKED)
    with stop_on_signals() as stop:
        code = int(collector.choose_symbols(stop) or Exit.ASKED)
    try:
        if not code:
            log_plan(collector.plan, now_ms())
            sys.stdout.write(collector.streams.text())
    except ValueError as error:
        code = exit_with_settings_error(error)
    collector.stop()
    return code


def audit(asked: argparse.Namespace, settings: Settings | None = None) -> int:
    """Compare past klines with the exchange's own candles, as `main.py audit --help` describes; the exit code."""
    try:
        settings = settings or load_settings()
        check_settings(settings, VENUES[settings.exchange])
        history = rest_of(settings, VENUES[settings.exchange])
        describe_network([history(settings.channel_type).url])
    except ValueError as error:
        return exit_with_settings_error(error)
    path = settings.file_consumer_base_path / settings.exchange
    by_market = arithmetics(settings, VENUES[settings.exchange])
    defaults = Defaults(
        settings.channel_type,
        path,
        lambda market: compared_fields(by_market.get(market, PLAIN)),
        lambda market, kline: is_left_out(kline, by_market.get(market, PLAIN)),
    )
    return run_audit(asked, defaults, history)


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
