"""The command line of main.py: what each of its commands runs.

Main thread. `python main.py` alone collects: what a command needs is imported by it, and so is the parser.
"""

import functools
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from app.collector import Collector
from app.entries import Subscribe
from app.exits import Exit
from app.first_light import log_plan
from app.options import arithmetics, rest_of
from app.printed import printing
from app.process import exit_with_settings_error, prepare, run_service
from app.signals import stop_on_signals
from app.venue_checks import check_settings
from conf.env_file import ENV_FILE
from conf.settings import Settings, load_settings
from exchanges.registry import VENUES
from model.clock import now_ms
from network.report import describe_network

if TYPE_CHECKING:
    import argparse

Streams = list[dict[str, Any]]


def main(arguments: Sequence[str], streams: Streams, subscribe: Subscribe) -> int:
    """Run the command of the command line; returns the exit code. SystemExit after --help, 2 for a wrong argument.

    OUTPUT_UNREACHABLE where what it prints cannot be written, and nothing else is wrong.
    """
    if not arguments:
        return run(streams, subscribe)
    import argparse

    from app.arguments import parser

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


def _print(asked: "argparse.Namespace", streams: Streams, subscribe: Subscribe) -> int | None:
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
        from app.doctor.command import doctor

        return doctor(streams, subscribe, sys.stdout, as_json=asked.json)
    if asked.command != "relay" and (asked.dry_run or asked.check_config):
        return dry_run(streams, subscribe, is_offline=asked.check_config)
    return None


def run(streams: Streams, subscribe: Subscribe, settings: Settings | None = None) -> int:
    """Collect `streams` until asked to stop by SIGTERM, SIGINT or SIGHUP; returns the exit code."""
    return run_service(settings, functools.partial(Collector, streams=streams, subscribe=subscribe))


def relay(settings: Settings | None = None) -> int:
    """Run the outputs but those in Redis, on what collectors publish there, until asked to stop; the exit code."""
    from app.relay import OutputRelay

    return run_service(settings, OutputRelay)


def alert_test() -> int:
    """Send a message to each service that takes alerts, and print whether it was taken; returns the exit code."""
    from app.alerts.trial import send_test  # apprise is an extra

    return send_test()


def watch(asked: "argparse.Namespace", settings: Settings | None = None) -> int:
    """Show what a collector of these settings publishes, as `main.py watch --help` describes; the exit code."""
    from app.watch.command import run_watch

    try:
        settings = settings or load_settings()
        check_settings(settings, VENUES[settings.exchange])
    except ValueError as error:
        return exit_with_settings_error(error)
    return run_watch(asked, settings)


def schema(output: TextIO, settings: Settings | None = None) -> int:
    """Print what a collector of these settings sends and takes, as AsyncAPI; returns the exit code."""
    from app.schema.document import document

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


def audit(asked: "argparse.Namespace", settings: Settings | None = None) -> int:
    """Compare past klines with the exchange's own candles, as `main.py audit --help` describes; the exit code."""
    from aggregation.audit.cli import Defaults, run_audit
    from aggregation.audit.compare import compared_fields, is_left_out
    from aggregation.klines.arithmetic import PLAIN

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
