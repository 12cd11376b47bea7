"""The manager of all outputs: builds them by name, sends every envelope to each, stops them under one deadline.

`publish` may be called by any thread and never blocks; each output has its own bounded queue and thread. Reads no
settings: the options are records that app/options.py makes.
"""

import asyncio
import dataclasses
import importlib
import inspect
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import structlog

from consumers.base import BaseConsumer
from consumers.console.console import ConsoleConsumer, ConsoleOptions
from consumers.files.jsonl import FileConsumer, FileOptions
from consumers.files.parquet import ParquetConsumer, ParquetOptions
from consumers.health import LASTING_S, ConsumerStats, SinkOutage
from consumers.redis.cluster import ClusterPublisher
from consumers.redis.options import RedisOptions, RedisStreamsOptions, StorageOptions
from consumers.redis.standalone import RedisPublisher
from consumers.redis.storage.writer import StorageConsumer
from consumers.redis.streams import RedisStreamsWriter
from consumers.store.published import EarlierStore
from consumers.store.reader import KlineReader
from consumers.store.store import STORED, StoreConsumer, StoreOptions
from consumers.web.options import WebOptions
from consumers.web.server import WebServer
from consumers.worker import Worker
from model.envelope import Envelope
from model.events import NO_EVENTS, EventSink

log = structlog.get_logger()

SETUP_LIMIT_S = 10.0  # a start waits so long for the outputs to be set up
ASLEEP_S = 3600.0  # between two ticks of a web server without envelopes, which does nothing in them
OTHERS_SHARE = 0.6  # of the stop's time, for all outputs but redis and the store: one that hangs must leave them theirs
REDIS_SHARE = 0.8  # of the rest, for redis


class ConsumerSettingsError(ValueError):
    """Outputs that cannot work as configured; `errors` has one line per mistake."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


Output = Worker | RedisPublisher | ClusterPublisher | RedisStreamsWriter
"""A consumer in its worker, or an output with a thread of its own."""


@dataclass(frozen=True)
class ConsumerOptions:
    """The options of the built-in outputs, and how long one must fail to count as down.

    `has_web`: the web server runs also where `websocket` is not enabled. `store` None: there is none.
    """

    redis: RedisOptions = field(default_factory=RedisOptions)
    file: FileOptions = field(default_factory=FileOptions)
    parquet: ParquetOptions = field(default_factory=ParquetOptions)
    console: ConsoleOptions = field(default_factory=ConsoleOptions)
    websocket: WebOptions = field(default_factory=WebOptions)
    storage: StorageOptions = field(default_factory=StorageOptions)
    history: RedisStreamsOptions = field(default_factory=RedisStreamsOptions)
    store: StoreOptions | None = None
    lasting_s: float = LASTING_S
    has_web: bool = False


class ConsumerManager:
    """The fan-out. Raises `ConsumerSettingsError` with every mistake at once; opens nothing before `start`."""

    registered: ClassVar[dict[str, type[BaseConsumer]]] = {}
    """The user's consumers by name."""

    def __init__(
        self,
        enabled: Iterable[str],
        options: ConsumerOptions | None = None,
        events: EventSink = NO_EVENTS,
    ) -> None:
        """`events` gets SinkDown and SinkUp of every output."""
        self._options, self._events = options or ConsumerOptions(), events
        self.redis: RedisPublisher | ClusterPublisher | None = None
        self.history: RedisStreamsWriter | None = None
        self.web: WebServer | None = None
        """The web server, whether it sends envelopes or not."""
        self.candle_store: KlineReader | None = None
        """What the store's file has, where there is one."""
        self._storage: Worker | None = None
        self._web_alone: Worker | None = None  # without envelopes
        self._store: Worker | None = None
        self._takers: list[Output] = []  # of every envelope
        self._outputs: list[Output] = []
        errors: list[str] = []
        for name in dict.fromkeys(enabled):
            try:
                self._takers.append(self._build(name))
            except ValueError as error:
                errors += str(error).splitlines() or [f"ENABLED_CONSUMERS: {name!r} is refused by its own validate"]
        if self.web is None and self._options.has_web:
            try:
                alone = dataclasses.replace(self._options.websocket, serves_envelopes=False)
                self._web_alone = self._build_web(alone, ASLEEP_S)
            except ValueError as error:
                errors += str(error).splitlines()
        if errors:
            raise ConsumerSettingsError(errors)
        self._outputs = [*self._takers]
        if options and options.store:
            consumer = StoreConsumer(options.store)
            self.candle_store = consumer.reader
            self._store = Worker(consumer, consumer.name, events, self._options.lasting_s)
            self._outputs.append(self._store)
            if self.redis:
                self.redis.note_with(self.record)

    @classmethod
    def list_available_consumers(cls) -> list[str]:
        """Return every name that ENABLED_CONSUMERS may have, built-in and registered."""
        return [*BUILT_IN, *cls.registered]

    @classmethod
    def register_consumer(cls, name: str, consumer: type[BaseConsumer]) -> None:
        """Make `consumer` available under `name` in ENABLED_CONSUMERS; before the manager is built."""
        if name in BUILT_IN:
            raise ValueError(f"{name!r} is a built-in consumer; choose another name")
        cls.registered[name] = consumer

    def start(self, limit_s: float = SETUP_LIMIT_S, stop: threading.Event | None = None) -> dict[str, str]:
        """Start every output; returns those that could not be set up yet, and why; they try again by themselves.

        Waits for them up to `limit_s`, or until `stop` is set.
        """
        self.start_web()
        for output in self._outputs:
            output.start()
        deadline_s = time.monotonic() + limit_s
        failed = {}
        for output in self._outputs:
            if isinstance(output, Worker) and (reason := output.wait_settled(deadline_s, stop)):
                failed[output.name] = reason
        return failed

    def start_web(self) -> None:
        """Start the web server that sends no envelopes, which can tell of a start that takes long; once."""
        if self._web_alone and self._web_alone.threads()[0].ident is None:
            self._web_alone.start()

    def publish(self, envelope: Envelope) -> None:
        """Send one envelope to every output; never blocks."""
        self.record(envelope)  # first: the store has a kline before it is told that Redis confirmed it
        for output in self._takers:
            output.offer(envelope)

    def read_earlier_store(self) -> EarlierStore | None:
        """Return what the store has of an earlier run, where there is one; before `start`."""
        options = self._options.store
        return EarlierStore.read(options.path) if options else None

    def record(self, envelope: Envelope) -> None:
        """Send one envelope to the candle store and its journal alone, where there is one; never blocks."""
        if self._store is not None and envelope.data_type in STORED:
            self._store.offer(envelope)

    def store(self, envelope: Envelope) -> None:
        """Send one envelope to the storage alone, where there is one; never blocks."""
        if self._storage is not None:
            self._storage.offer(envelope)

    def change_stored_symbols(self, market: str, went: Collection[str], came: Collection[str]) -> None:
        """Change the symbols of the storage, where there is one: those that went are removed; never blocks."""
        if self._storage is not None and isinstance(self._storage.consumer, StorageConsumer):
            self._storage.consumer.change_symbols(market, went, came)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that must live."""
        return [thread for output in self._all() for thread in output.threads()]

    def stop(self, deadline_s: float) -> list[str]:
        """Flush and end every output, redis after the others, and the store last, which notes what redis confirmed.

        Returns those not finished by `deadline_s` (monotonic).
        """
        others: list[Output] = [output for output in self._all() if output not in (self.redis, self._store)]
        unfinished: list[Output] = []
        for outputs, share in (
            (others, OTHERS_SHARE if self.redis else 1.0),
            ([self.redis] if self.redis else [], REDIS_SHARE if self._store else 1.0),
            ([self._store] if self._store else [], 1.0),
        ):
            now_s = time.monotonic()
            by_s = now_s + max(0.0, deadline_s - now_s) * share
            for output in outputs:
                output.begin_stop(by_s)
            unfinished += [output for output in outputs if not output.join(by_s)]
        if unfinished:
            log.warning("consumers_unfinished", consumers=[output.name for output in unfinished])
        # What a store that cannot be opened has not written costs itself alone, not the end of the process.
        is_held_up = self._store in unfinished and any(thread.is_alive() for thread in self._store.threads())
        return [output.name for output in unfinished if output is not self._store or is_held_up]

    def stats(self) -> dict[str, ConsumerStats]:
        """Return the figures of every output by name."""
        return {output.name: output.stats() for output in self._outputs}

    def outages(self) -> list[SinkOutage]:
        """Return the outputs that do not work now."""
        return [outage for output in self._outputs if (outage := output.health.outage)]

    def _all(self) -> list[Output]:
        return [*self._outputs, *([self._web_alone] if self._web_alone else [])]

    def _build_web(self, options: WebOptions, tick_s: float | None = None) -> Worker:
        self.web = WebServer(options)
        self.web.validate()
        return Worker(self.web, options.name, self._events, self._options.lasting_s, tick_s)

    def _build(self, name: str) -> Output:
        if name == "redis":
            publisher = RedisPublisher if self._options.redis.cluster == "off" else ClusterPublisher
            self.redis = publisher(self._options.redis, self._events)
            self.redis.validate()
            return self.redis
        if name == "history":
            self.history = RedisStreamsWriter(self._options.history, self._events)
            return self.history
        if name == "websocket":
            return self._build_web(self._options.websocket)
        if name in CONSUMERS:
            consumer = CONSUMERS[name](self._options)
        elif ":" in name:
            consumer = _make(_load(name), name.rpartition(":")[2])
        elif name in self.registered:
            consumer = _make(self.registered[name], name)
        else:
            allowed = ", ".join([*self.list_available_consumers(), "package.module:ConsumerClass"])
            raise ValueError(f"ENABLED_CONSUMERS: {name!r} is unknown; allowed: {allowed}")
        _validate(consumer, name)
        worker = Worker(consumer, name.rpartition(":")[2], self._events, self._options.lasting_s)
        if name == "storage":
            self._storage = worker
        return worker


def _load(dotted: str) -> type[BaseConsumer]:
    module_name, _, class_name = dotted.partition(":")
    try:
        found = getattr(_module(module_name), class_name)
    except Exception as error:  # the user's module
        raise ValueError(f"ENABLED_CONSUMERS: {dotted!r} cannot be imported: {_one_line(error)}") from error
    if not (isinstance(found, type) and issubclass(found, BaseConsumer)):
        raise ValueError(  # noqa: TRY004 - a wrong setting like the others
            f"ENABLED_CONSUMERS: {dotted!r} is no class deriving from consumers.base.BaseConsumer"
        )
    return found


def _module(name: str) -> ModuleType:
    """Import a module; the script that runs is not imported a second time under its own name."""
    script = sys.modules["__main__"]
    is_script = name not in sys.modules and Path(getattr(script, "__file__", None) or "").stem == name
    return script if is_script else importlib.import_module(name)


def _make(consumer: type[BaseConsumer], name: str) -> BaseConsumer:
    """Build a user's consumer: without arguments, or with its name where that has no default."""
    parameters = inspect.signature(consumer).parameters.values()
    needs_name = any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    try:
        return consumer(name) if needs_name else consumer()  # type: ignore[call-arg]
    except Exception as error:  # the user's class
        raise ValueError(f"ENABLED_CONSUMERS: {name!r} cannot be made: {_one_line(error)}") from error


def _validate(consumer: BaseConsumer, name: str) -> None:
    """Call a consumer's `validate`, plain or async."""
    try:
        found = consumer.validate()
        if inspect.isawaitable(found):
            asyncio.run(_awaited(found))
    except ValueError:
        raise
    except Exception as error:  # the user's method
        raise ValueError(f"ENABLED_CONSUMERS: {name!r} cannot be validated: {_one_line(error)}") from error


async def _awaited(found: Awaitable[object]) -> None:
    await found


def _one_line(error: Exception) -> str:
    """Write an error of the user's code in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


CONSUMERS: dict[str, Callable[[ConsumerOptions], BaseConsumer]] = {
    "file": lambda options: FileConsumer(options.file),
    "parquet": lambda options: ParquetConsumer(options.parquet),
    "console": lambda options: ConsoleConsumer(options.console),
    "storage": lambda options: StorageConsumer(options.storage),
}
BUILT_IN = ("redis", "file", "parquet", "console", "websocket", "storage", "history")
