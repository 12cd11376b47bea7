"""What the engine's sockets do for any exchange: age, notice, pings, idle connections, too many messages, ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.faults import Faults
from exchanges.simulated.hub import Hub, Session
from exchanges.simulated.limits import SocketLimits
from exchanges.simulated.server import WsServer
from tests.support.simulator import SimulatorProcess

LIMIT_S = 10.0
TEND_S = 0.02


class Front:
    """Answers of a small exchange: every path but /none exists; "end" ends the connection, the rest is echoed."""

    def channel(self, path: str) -> str | None:
        return None if path == "/none" else path[1:]

    def opened(self, session: Session, target: str) -> None:
        session.push_text(target)

    def handle(self, session: Session, message: str | bytes) -> None:
        session.push_text(str(message))
        if message == "end":
            session.end(1009, "too long")

    def notice(self, session: Session) -> str:
        return f"{session.category} will end"


@asynccontextmanager
async def exchange(limits: SocketLimits) -> AsyncIterator[tuple[WsServer, str]]:
    """Server and address; tended as the engine does."""
    server = WsServer(Hub(), Front(), limits, 1 << 20)
    port = await server.start("127.0.0.1", 0)

    async def tend() -> None:
        while True:
            server.tend()
            server.flush()
            await asyncio.sleep(TEND_S)

    task = asyncio.create_task(tend())
    try:
        yield server, f"ws://127.0.0.1:{port}"
    finally:
        task.cancel()
        server.abort()
        assert server._server is not None
        server._server.close()
        await server._server.wait_closed()


async def closed(client: ClientConnection) -> tuple[list[Any], int, str]:
    """What came until the connection ended, the code and the reason."""
    texts = []
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                texts.append(await client.recv())
    except ConnectionClosed as end:
        return texts, end.rcvd.code if end.rcvd else 1006, end.rcvd.reason if end.rcvd else ""


def run(limits: SocketLimits, script: Any, path: str = "/public?streams=a", **options: Any) -> Any:
    """Run `script(server, client)` against an exchange with these limits."""

    async def main() -> Any:
        async with exchange(limits) as (server, url), connect(url + path, proxy=None, **options) as client:
            return await script(server, client)

    return asyncio.run(main())


def test_url_with_its_query_reaches_the_dialect_and_a_wrong_path_is_none() -> None:
    """Streams may be named there."""

    async def first(_server: WsServer, client: ClientConnection) -> Any:
        return await client.recv()

    assert run(SocketLimits(), first) == "/public?streams=a"
    with pytest.raises(Exception, match="404"):
        run(SocketLimits(), first, "/none")


def test_old_connection_is_announced_and_then_ended() -> None:
    """In the exchange's words, with its code."""

    async def wait(_server: WsServer, client: ClientConnection) -> Any:
        return await closed(client)

    texts, code, _ = run(SocketLimits(life_s=0.4, life_code=1001, notice_s=0.3), wait)
    assert (texts[1:], code) == (["public will end"], 1001)


def test_end_on_command_is_announced_at_once() -> None:
    """The other connections live on."""

    async def command(server: WsServer, client: ClientConnection) -> Any:
        await client.recv()
        faults = Faults(server._hub, server, DIALECT.garbage)
        assert faults.notice({"s": 0.2, "category": "business"}) == {"connections": 0}
        assert faults.notice({"s": 0.2, "category": "public"}) == {"connections": 1}
        return await closed(client)

    assert run(SocketLimits(), command) == (["public will end"], 1000, "")


def test_client_that_answers_no_ping_is_cut() -> None:
    """One that does lives."""

    async def wait(server: WsServer, client: ClientConnection) -> Any:
        client.protocol.recv_frame = _without_pings(client)  # type: ignore[method-assign]
        _, code, _ = await closed(client)
        return code, server._hub.counters["pongless_closed"]

    async def live(server: WsServer, client: ClientConnection) -> Any:
        (connection,) = server.connections
        async with asyncio.timeout(LIMIT_S):
            for _ in range(3):
                since_s = connection.last_pong_s
                while connection.last_pong_s == since_s:
                    await asyncio.sleep(TEND_S)
        return server._hub.counters["pongless_closed"]

    limits = SocketLimits(ping_every_s=0.05, pong_within_s=0.2)
    assert run(limits, wait) == (1006, 1)
    assert run(SocketLimits(ping_every_s=0.05, pong_within_s=5.0), live) == 0


def _without_pings(client: ClientConnection) -> Any:
    receive = client.protocol.recv_frame

    def recv_frame(frame: Any) -> None:
        if frame.opcode != 9:
            receive(frame)

    return recv_frame


def test_pings_do_not_save_an_idle_client_where_texts_are_asked_for() -> None:
    """OKX's 30 seconds; elsewhere any frame counts."""

    async def idle(_server: WsServer, client: ClientConnection) -> Any:
        return (await closed(client))[1]

    limits = SocketLimits(idle_s=0.4, idle_code=4004, pings_keep_alive=False)
    assert run(limits, idle, ping_interval=0.05) == 4004

    async def talk(_server: WsServer, client: ClientConnection) -> Any:
        for _ in range(12):
            await client.send("ping")
            await asyncio.sleep(0.05)
        return client.close_code

    assert run(limits, talk, ping_interval=None) is None


def test_too_many_messages_end_the_connection() -> None:
    """Pings and pongs are messages too."""

    async def flood(_server: WsServer, client: ClientConnection) -> Any:
        for _ in range(4):
            await client.ping()
        await client.send("fifth")
        await client.send("sixth")
        return (await closed(client))[1:]

    assert run(SocketLimits(messages_per_s=5), flood, ping_interval=None) == (1008, "Too many requests")


def test_dialect_may_end_a_connection_after_its_last_words() -> None:
    """The answer arrives first."""

    async def end(_server: WsServer, client: ClientConnection) -> Any:
        await client.send("end")
        return await closed(client)

    assert run(SocketLimits(), end) == (["/public?streams=a", "end"], 1009, "too long")


def test_lifetime_and_listings_are_commands_of_the_program() -> None:
    """Of every exchange."""
    with SimulatorProcess("--lifetime-s", "0.5", "--symbols", "2", "--categories", "linear") as simulator:

        async def wait() -> int:
            async with connect(simulator.ws_url(), proxy=None) as client:
                return (await closed(client))[1]

        assert asyncio.run(wait()) == 1000
        assert simulator.get("/sim/symbols", category="linear").json()["list"] == ["BTCUSDT", "ETHUSDT"]
        simulator.command("delist", symbol="BTCUSDT")
        simulator.command("list")
        assert simulator.get("/sim/symbols", category="linear").json()["list"] == ["ETHUSDT", "SOLUSDT"]
        assert simulator.klines("BTCUSDT", 60_000)
