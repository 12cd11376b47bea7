"""`python -m exchanges.simulated`: start, print the ports as one JSON line, run until SIGTERM or SIGINT."""

import argparse
import asyncio
import importlib
import json
import pkgutil
import signal
import ssl
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from .commands import Commands
from .dialect import Dialect
from .engine import Engine
from .faults import Faults
from .hub import Hub, Session, Topic
from .limits import SocketLimits
from .market import Market
from .options import Options, parse_options
from .replay import Replay
from .rest import Answer, Request, RestServer
from .server import WsServer
from .service import Service, World

USUAL = "bybit"
PATHS_MOST, OTHER_PATHS = 200, "others"


class Simulator:
    """All parts of the simulated exchange, joined."""

    def __init__(self, options: Options, exchange: str) -> None:
        self._options, self._ws_port = options, 0
        self.dialect = dialect = dialect_of(exchange)
        self.hub = Hub(options.digest)
        self.market = Market(options, self.hub, lambda: time.time_ns() // 1000, dialect)
        self.replay = Replay(
            self.hub, options.replay, options.replay_rate, options.replay_path, options.replay_when_subscribed,
            dialect, speed=options.replay_speed,
        )  # fmt: skip
        opening = importlib.import_module(f"{__package__}.{exchange}.service").open_service
        self.service: Service = opening(
            World(options, self.hub, self.market, self._find, self._snapshots, self._ws_base)
        )
        self.ws = WsServer(self.hub, self, limits_of(options, dialect), options.max_buffer_mb << 20)
        self.engine = Engine(self.hub, self.market, self.ws, self.replay)
        self.engine.flood_left, self.engine.flood_waits_for = options.flood, options.flood_when_subscribed
        self.engine.on_tick = self.service.tick
        faults = Faults(self.hub, self.ws, dialect.garbage)
        self.commands = Commands(self.hub, self.market, self.engine, faults, self.service)

    # what the sockets ask

    def channel(self, path: str) -> str | None:
        """The name of a path."""
        return self.dialect.channel(path)

    def opened(self, session: Session, target: str) -> None:
        """A connection was accepted."""
        self.service.opened(session, target)

    def notice(self, session: Session) -> str:
        """What announces the end of a connection."""
        return self.service.notice(session)

    def ping(self, session: Session) -> str:
        """The text of the exchange's own ping."""
        return self.service.ping(session)

    def refusal(self, target: str) -> tuple[int, str] | None:
        """What refuses a handshake."""
        return self.service.refusal(target)

    def _ws_base(self) -> str:
        options = self._options
        return f"{'wss' if options.tls_cert else 'ws'}://{options.host}:{self._ws_port}"

    def handle(self, session: Session, message: str | bytes) -> None:
        """Handle a client's message, at once or as late as over a long wire."""
        delay_s = self._options.answer_delay_ms / 1000
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._handle_now, session, message)
        else:
            self._handle_now(session, message)

    def _handle_now(self, session: Session, message: str | bytes) -> None:
        """Handle a message; a connection that ended meanwhile gets nothing."""
        if session in self.hub.sessions:
            self.service.handle(session, message)

    def _find(self, channel: str, name: str) -> Topic | None:
        """Find a topic; a replayed one precedes a listed one: its payloads come from the file alone."""
        return self.replay.find(channel, name) or self.market.find(channel, name)

    def _snapshots(self, topic: Topic) -> Iterable[str]:
        """The first snapshots of a topic; a replayed topic has none but those of its file."""
        return () if topic.is_replayed else self.market.snapshots(topic)

    def respond(self, request: Request) -> Answer:
        """Route a REST request; those of clients are counted by path."""
        if request.path.startswith("/sim/"):
            return self.commands.answer(request)
        asked = self.commands.asked
        asked[request.path if request.path in asked or len(asked) < PATHS_MOST else OTHER_PATHS] += 1
        return self.service.answer(request)

    async def run(self) -> None:
        """Listen, print the ports, and run until a signal."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        options, tls = self._options, tls_of(self._options)
        ws_port = self._ws_port = await self.ws.start(options.host, options.ws_port, tls)
        rest_port = await RestServer(self.respond).start(options.host, options.rest_port, tls)
        print(json.dumps({"ws_port": ws_port, "rest_port": rest_port}), flush=True)
        engine = loop.create_task(self.engine.run())
        engine.add_done_callback(lambda _: stop.set())
        await stop.wait()
        self.ws.abort()
        if engine.done():
            engine.result()


def exchanges() -> list[str]:
    """The names of all simulated exchanges: the folders beside this file."""
    return sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg)


def dialect_of(exchange: str) -> Dialect:
    """The dialect of an exchange; ModuleNotFoundError where there is none."""
    dialect: Dialect = importlib.import_module(f"{__package__}.{exchange}.dialect").DIALECT
    return dialect


def limits_of(options: Options, dialect: Dialect) -> SocketLimits:
    """The limits of an exchange's sockets, the command line's in their place."""
    limits, idle_s = dialect.limits, options.idle_timeout_s
    return replace(
        limits,
        idle_s=limits.idle_s if idle_s is None else idle_s,
        pong_within_s=limits.pong_within_s if idle_s is None else min(limits.pong_within_s, idle_s),
        connects=limits.connects if options.connect_limit is None else options.connect_limit,
        life_s=limits.life_s if options.lifetime_s is None else options.lifetime_s,
        ban_s=limits.ban_s if options.ban_s is None else options.ban_s,
    )


def tls_of(options: Options) -> ssl.SSLContext | None:
    """The TLS context of both ports, None for plain text; OSError for files that cannot be read."""
    if not options.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls_cert, options.tls_key)
    return context


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when asked to end, 1 when a port or file is not to be had, 2 for wrong arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--exchange", choices=exchanges(), default=USUAL)
    exchange = str(first.parse_known_args(arguments)[0].exchange)
    options = parse_options(arguments, dialect_of(exchange))
    try:
        asyncio.run(Simulator(options, exchange).run())
    except OSError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
