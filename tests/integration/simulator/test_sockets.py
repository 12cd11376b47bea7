"""What the engine's sockets do for any exchange: age, notice, pings, idle connections, too many messages, ends."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from exchanges.simulated.bybit.dialect import DIALECT
from exchanges.simulated.faults import Faults
from exchanges.simulated.frames import gzip_frame
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
        session.wrap = gzip_frame if target == "/packed" else session.wrap
        session.push_text(target)

    def handle(self, session: Session, message: str | bytes) -> None:
        if message == "Pong":
            session.answer_ping()
        session.push_text(str(message))
        if message == "end":
            session.end(1009, "too long")

    def notice(self, session: Session) -> str:
        return f"{session.category} will end"

    def ping(self, session: Session) -> str:
        return "Ping" if session.category in ("words", "packed") else ""

    def refusal(self, target: str) -> tuple[int, str] | None:
        return (401, "no token") if target.startswith("/token?") and "good" not in target else None


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


def test_window_of_messages_is_the_exchanges() -> None:
    """KuCoin counts ten seconds: what is borne in one is too much there."""

    async def talk(_server: WsServer, client: ClientConnection) -> Any:
        for _ in range(4):
            await client.send("again")
            await asyncio.sleep(0.15)
        try:
            return (await closed(client))[1] if client.close_code is None else client.close_code
        except ConnectionClosed as end:
            return end.code

    async def live(_server: WsServer, client: ClientConnection) -> Any:
        for _ in range(4):
            await client.send("again")
            await asyncio.sleep(0.15)
        return client.close_code

    assert run(SocketLimits(messages_per_s=3, messages_window_s=10.0), talk, ping_interval=None) == 1008
    assert run(SocketLimits(messages_per_s=3, messages_window_s=0.3), live, ping_interval=None) is None


def test_everything_leaves_compressed_where_the_exchange_compresses() -> None:
    """BingX: a gzip member in a binary frame, data, answers, pings and garbage alike."""

    async def read(server: WsServer, client: ClientConnection) -> Any:
        hub = server._hub
        (session,) = hub.sessions
        topic = hub.topic("linear", "a", "trades", "A")
        hub.join(session, topic)
        hub.publish(topic, "data")
        Faults(hub, server, DIALECT.garbage).garbage({"what": "not_an_object"})
        return [await client.recv() for _ in range(4)]

    limits = SocketLimits(ping_every_s=0.05)
    frames = run(limits, read, "/packed", ping_interval=None)
    assert all(isinstance(frame, bytes) for frame in frames)
    assert {gzip.decompress(frame) for frame in frames} == {b"/packed", b"data", b"[1,2,3]", b"Ping"}


def test_pings_may_be_messages_that_a_client_answers_by_one() -> None:
    """Who does not is cut, though it answers ping frames; who does lives."""

    async def mute(server: WsServer, client: ClientConnection) -> Any:
        _, code, _ = await closed(client)
        return code, server._hub.counters["pongless_closed"]

    async def answer(server: WsServer, client: ClientConnection) -> Any:
        pings = 0
        async with asyncio.timeout(LIMIT_S):
            while pings < 4:
                if await client.recv() == "Ping":
                    pings += 1
                    await client.send("Pong")
        return server._hub.counters["pongless_closed"]

    assert run(SocketLimits(ping_every_s=0.05, pong_within_s=0.2), mute, "/words") == (1006, 1)
    assert run(SocketLimits(ping_every_s=0.05, pong_within_s=5.0), answer, "/words") == 0


def test_handshake_may_need_what_rest_gave_before() -> None:
    """KuCoin's token stands in the URL; without a good one there is no connection."""

    async def first(_server: WsServer, client: ClientConnection) -> Any:
        return await client.recv()

    assert run(SocketLimits(), first, "/token?token=good") == "/token?token=good"
    with pytest.raises(Exception, match="401"):
        run(SocketLimits(), first, "/token?token=bad")


def test_connections_at_a_time_may_be_limited() -> None:
    """One too many is refused; after an end there is room."""

    async def dial(server: WsServer, client: ClientConnection) -> Any:
        (connection,) = server.connections
        host, port = connection.local_address[:2]
        url = f"ws://{host}:{port}/b"
        with pytest.raises(Exception, match="403"):
            await connect(url, proxy=None)
        await client.close()
        async with asyncio.timeout(LIMIT_S):
            while server.connections:
                await asyncio.sleep(TEND_S)
        async with connect(url, proxy=None) as second:
            return await second.recv()

    assert run(SocketLimits(open_most=1), dial) == "/b"


def test_connection_without_a_topic_is_ended() -> None:
    """One that has a topic lives on, whatever else it does."""

    async def wait(_server: WsServer, client: ClientConnection) -> Any:
        return (await closed(client))[1:]

    async def subscribed(server: WsServer, client: ClientConnection) -> Any:
        hub = server._hub
        (session,) = hub.sessions
        topic = hub.topic("linear", "a", "trades", "A")
        hub.join(session, topic)
        await asyncio.sleep(0.6)
        alive = client.close_code
        hub.leave(session, topic)
        return alive, (await closed(client))[1]

    limits = SocketLimits(bare_s=0.3, bare_code=4004)
    assert run(limits, wait) == (4004, "no subscription")
    assert run(limits, subscribed) == (None, 4004)


def test_data_do_not_save_a_client_that_must_ping() -> None:
    """Bitget ends it after two minutes though data flow."""

    async def read(server: WsServer, client: ClientConnection) -> Any:
        (session,) = server._hub.sessions

        async def send() -> None:
            while True:
                session.push_text("data")
                await asyncio.sleep(TEND_S)

        task = asyncio.create_task(send())
        try:
            return (await closed(client))[1]
        finally:
            task.cancel()

    assert run(SocketLimits(idle_s=0.4, data_keep_alive=False), read, ping_interval=None) == 1000


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
