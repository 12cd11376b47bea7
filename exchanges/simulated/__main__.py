"""`python -m exchanges.bybit.simulator`: start, print the ports as one JSON line, run until SIGTERM or SIGINT."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterable

from .bybit.control import Control
from .bybit.private import PrivateSide, tls_of
from .commands import Commands
from .engine import Engine
from .faults import Faults
from .hub import Hub, Session, Topic
from .market import Market
from .options import Options, parse_options
from .replay import Replay
from .rest import Answer, Request, RestServer
from .server import WsServer


class Simulator:
    """All parts of the simulated exchange, joined."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.hub = Hub(options.digest)
        self.market = Market(options, self.hub, lambda: time.time_ns() // 1000)
        self.replay = Replay(
            self.hub, options.replay, options.replay_rate, options.replay_path, options.replay_when_subscribed,
            speed=options.replay_speed,
        )  # fmt: skip
        self._control = Control(self.hub, self._find, self._snapshots, self.market.now_ms)
        self.private = PrivateSide(options, self.hub, self.market)
        self.ws = WsServer(
            self.hub, self._handle, options.idle_timeout_s, options.connect_limit, options.ban_s,
            options.max_buffer_mb << 20,
        )  # fmt: skip
        self.engine = Engine(self.hub, self.market, self.ws, self.replay)
        self.engine.flood_left, self.engine.flood_waits_for = options.flood, options.flood_when_subscribed
        self.engine.on_tick = self.private.matching.run
        faults = Faults(self.hub, self.ws, self.private.gateway)
        self.commands = Commands(self.hub, self.market, self.engine, faults, self.private.commands)

    def _handle(self, session: Session, message: str | bytes) -> None:
        """Handle a client's message, at once or as late as over a long wire."""
        delay_s = self._options.answer_delay_ms / 1000
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self._handle_now, session, message)
        else:
            self._handle_now(session, message)

    def _handle_now(self, session: Session, message: str | bytes) -> None:
        """Route a message to the handler of its channel; a connection that ended meanwhile gets nothing."""
        if session not in self.hub.sessions:
            return
        if session.category == "private":
            self.private.stream.handle(session, message)
        elif session.category == "trade":
            self.private.trade.handle(session, message)
        else:
            self._control.handle(session, message)

    def _find(self, category: str, name: str) -> Topic | None:
        """Find a topic; a replayed one precedes a listed one: its payloads come from the file alone."""
        return self.replay.find(category, name) or self.market.find(category, name)

    def _snapshots(self, topic: Topic) -> Iterable[str]:
        """The first snapshots of a topic; a replayed topic has none but those of its file."""
        is_replayed = self.replay.find(topic.category, topic.name) is not None
        return () if is_replayed else self.market.snapshots(topic)

    def respond(self, request: Request) -> Answer:
        """Route a REST request."""
        if request.path.startswith("/sim/"):
            return self.commands.answer(request)
        return self.private.gateway.answer(request)

    async def run(self) -> None:
        """Listen, print the ports, and run until a signal."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        options, tls = self._options, tls_of(self._options)
        ws_port = await self.ws.start(options.host, options.ws_port, tls)
        rest_port = await RestServer(self.respond).start(options.host, options.rest_port, tls)
        print(json.dumps({"ws_port": ws_port, "rest_port": rest_port}), flush=True)
        engine = loop.create_task(self.engine.run())
        engine.add_done_callback(lambda _: stop.set())
        await stop.wait()
        self.ws.abort()
        if engine.done():
            engine.result()


def main() -> int:
    """Exit code 0 when asked to end, 1 when a port or file is not to be had, 2 for wrong arguments."""
    options = parse_options(sys.argv[1:])
    try:
        asyncio.run(Simulator(options).run())
    except OSError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
