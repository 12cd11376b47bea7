"""The command `python main.py doctor`: the list of checks for the settings, and its end as text or JSON.

Main thread; each check runs on one of its own.
"""

import contextlib
import functools
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

import structlog

from app.collector import Collector
from app.doctor.exchange import WAIT, ExchangeProbe
from app.doctor.findings import Check, Finding, State, exit_code, ok, warning, wrong
from app.doctor.installation import check_packages, check_python
from app.doctor.machine import check_disk, check_open_files, check_port
from app.doctor.network import check_proxies, way_checks
from app.doctor.redis_server import RedisProbe
from app.doctor.report import TextReport, write_json
from app.doctor.runner import Runner
from app.entries import EntryReader, Subscribe
from app.process import error_lines, other_errors
from app.startup import BEGUN_S
from app.venue_checks import has_markets
from conf.coins import CoinsFile
from conf.settings import Settings, SettingsError, load_settings
from exchanges.contract import Venue
from exchanges.registry import VENUES
from network.report import describe_network
from streams.registry import read_entries

EDIT = "mend it in .env, or in the environment"
DISK_HANGS = "a network file system hangs: see its mount, or name folders on another disk"

LIMIT_S = 13.0  # of the process, of 15 s that it may take: printing and ending take less than one
LEAST_S = 3.0  # for the checks, where a busy machine took long for the imports

SYMBOLS = "symbols"
SETTINGS_FAILED, SYMBOLS_FAILED = (Finding(State.SKIPPED, f"{name} failed") for name in ("settings", SYMBOLS))
NO_EXCHANGE = (Check("exchange", lambda: SETTINGS_FAILED, ""),)

Streams = list[dict[str, Any]]


def doctor(streams: Streams, subscribe: Subscribe, output: TextIO, *, as_json: bool = False) -> int:
    """Run every check and write what it found; returns the exit code of app.doctor.findings.exit_code."""
    silence_logs()
    plan = Plan(streams, subscribe)
    results = Runner(plan.checks, max(LEAST_S, LIMIT_S - (time.monotonic() - BEGUN_S))).results()
    found = write_json(output, plan.facts, results) if as_json else TextReport(output).write(plan.title, results)
    return int(exit_code(found))


def silence_logs() -> None:
    """Log nothing from here on: what the parts would log is in the list."""
    logging.disable(logging.CRITICAL)
    structlog.configure(processors=[_drop])


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


class Plan:
    """The checks for the settings of the environment and .env, in the order of the list."""

    def __init__(self, streams: Streams, subscribe: Subscribe) -> None:
        self._streams, self._subscribe = streams, subscribe
        self._errors: list[str] = []
        self.settings = self._read_settings()
        self._venue: Venue = VENUES[self.settings.exchange]
        self._names: Sequence[str] = self.settings.symbols
        self._exchange = self._build_exchange()
        self._collector = self._build_collector()  # adds entries to the list, which those above are read from
        self._redis = RedisProbe(self.settings) if self.settings.uses_redis else None
        self.checks = list(self._checks())

    @property
    def title(self) -> str:
        """One line that says whose settings these are."""
        settings = self.settings
        return f"doctor: {settings.exchange} {', '.join(settings.markets)}; settings of {self._source}"

    @property
    def facts(self) -> Mapping[str, Any]:
        """The same for JSON."""
        settings = self.settings
        source = str(settings.env_file.absolute()) if settings.env_file else None
        return {"exchange": settings.exchange, "markets": settings.markets, "env_file": source}

    @property
    def _source(self) -> str:
        file = self.settings.env_file
        return f"{file.absolute()} and the environment" if file else "the environment"

    # -- settings -------------------------------------------------------------------------------------------------

    def _read_settings(self) -> Settings:
        """Read the settings; what is wrong has its default, so that the rest can be checked."""
        try:
            return load_settings()
        except SettingsError as error:
            self._errors = error_lines(error)
            if error.sound is None:
                raise
            return error.sound

    def _build_collector(self) -> Collector | None:
        """Build the collector as a start does, for the errors that it finds; None where there are some."""
        try:
            return Collector(self.settings, self._streams, self._subscribe)
        except (ValueError, OSError) as error:
            self._errors += other_errors(error_lines(error), "\n".join(self._errors))
            return None

    def _build_exchange(self) -> ExchangeProbe | None:
        """Build what the exchange is asked with; None where the settings do not allow it, as their errors say."""
        settings = self.settings
        if not has_markets(settings, self._venue):
            return None
        with contextlib.suppress(ValueError):
            self._names = CoinsFile(*settings.coins_paths).load() or settings.symbols
        try:
            probe = ExchangeProbe(settings, self._venue, self._names, self._entry_names())
            describe_network([*(stream.url for stream in probe.streams), *probe.rest_urls.values()])
        except ValueError:
            return None
        return probe

    def _entry_names(self) -> Mapping[str, Sequence[str]]:
        """The symbols that STREAMS entries name, by market."""
        reader = EntryReader(self.settings, self._venue, self._subscribe, lambda _cause, _sample: None)
        found: dict[str, list[str]] = defaultdict(list)
        for entry in read_entries(list(self._streams))[0]:
            with contextlib.suppress(TypeError, ValueError):  # a wrong entry, which the settings' errors have
                request = reader.request_of(entry.func, entry.args, entry.kwargs)
                if request and request.kind != "topics":
                    symbols = [request.symbols] if isinstance(request.symbols, str) else request.symbols
                    found[reader.market_of(request)] += symbols
        return found

    def _check_settings(self) -> Sequence[Finding]:
        findings = [wrong(line, EDIT) for line in self._errors]
        findings += [warning(f"{each.name} {each.advice}", EDIT) for each in self.settings.warnings]
        return findings or [ok(f"right; from {self._source}")]

    # -- the list -------------------------------------------------------------------------------------------------

    def _checks(self) -> Iterator[Check]:
        settings = self.settings
        yield Check("settings", self._check_settings, EDIT)
        yield Check("Python", check_python, "")
        yield Check("packages", functools.partial(check_packages, *self._requirements()), "")
        checks = self._exchange_checks(self._exchange) if self._exchange else NO_EXCHANGE
        yield from checks
        after = [check for check in checks if check.name == SYMBOLS]
        if self._redis:
            server = Check("Redis", self._redis.check_server, "see REDIS_URL, and what runs there")
            yield server
            yield Check("Redis buffers", self._check_buffers, "", [server], after)
            yield Check("Redis memory", self._redis.check_memory, "", [server])
        yield Check("disk", lambda: check_disk(settings.written_folders), DISK_HANGS)
        if settings.enable_web or "websocket" in settings.outputs:
            is_named = "websocket_port" in settings.model_fields_set
            port = functools.partial(check_port, settings.websocket_host, settings.websocket_port, is_named=is_named)
            yield Check("port", port, "see WEBSOCKET_HOST: it is looked up")
        yield Check("open files", self._check_open_files, "", after=after)

    def _exchange_checks(self, probe: ExchangeProbe) -> Sequence[Check]:
        urls = [*(stream.url for stream in probe.streams), *probe.rest_urls.values()]
        settings = self.settings
        are_own = not (settings.ws_url or settings.bybit_ws_url or settings.rest_address)
        ways = way_checks(urls, are_own=are_own)
        servers = list(dict.fromkeys(ways.values()))
        names = list(dict.fromkeys(need for server in servers for need in server.needs))
        rest = {
            market: Check(f"REST {market}", functools.partial(probe.check_rest, market), WAIT, [ways[url]])
            for market, url in probe.rest_urls.items()
        }
        if rest:
            clock = [Check("clock", probe.check_clock, WAIT, [next(iter(rest.values()))])]
            symbols = Check(SYMBOLS, probe.check_symbols, WAIT, list(rest.values()))
        else:
            clock, symbols = [], Check(SYMBOLS, probe.guess_symbols, "")
        streams = [
            Check(each.name, functools.partial(probe.check_stream, each), WAIT, [ways[each.url]], [symbols])
            for each in probe.streams
        ]
        proxies = Check("proxies", functools.partial(check_proxies, urls), "")
        return [proxies, *names, *servers, *rest.values(), *clock, symbols, *streams]

    def _requirements(self) -> Sequence[str]:
        """The requirements files of what the settings want."""
        extras = {"parquet": "parquet" in self.settings.outputs, "alerts": self.settings.alert_urls is not None}
        return ["requirements.txt", *(f"requirements-{name}.txt" for name, is_wanted in extras.items() if is_wanted)]

    def _check_buffers(self) -> Finding:
        assert self._redis is not None
        count = self._symbols_count()
        return self._redis.check_buffers(count) if count else SYMBOLS_FAILED

    def _check_open_files(self) -> Finding:
        if self._collector is None or self._exchange is None:
            return SETTINGS_FAILED
        if not self._symbols_count():
            return SYMBOLS_FAILED
        if choice := self._exchange.choice:
            self._collector.follow({market: tuple(symbols) for market, symbols in choice.items()})
        return check_open_files(self._collector.streams.count, self.settings.websocket_clients)

    def _symbols_count(self) -> int:
        """How many symbols are collected, in all markets; 0 where that is not known."""
        if self._exchange and (choice := self._exchange.choice):
            return sum(map(len, choice.values()))
        return 0 if self.settings.load_all_symbols else len(self._names) * len(self.settings.markets)
