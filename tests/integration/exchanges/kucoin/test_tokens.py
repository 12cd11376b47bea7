"""The token that KuCoin wants before each dial, asked of a server that answers from a script."""

import json
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from exchanges.contract import Endpoints
from exchanges.kucoin.protocol import KucoinProtocol
from tests.integration.exchanges.server import ScriptedServer, response

SERVER = {"endpoint": "wss://somewhere.example/", "protocol": "websocket", "pingInterval": 18000, "pingTimeout": 10000}


def answer(number: int, **server: Any) -> bytes:
    data = {"token": f"2neAi{number}.=", "instanceServers": [{**SERVER, **server}]}
    return response(json.dumps({"code": "200000", "data": data}).encode())


def scripted(*answers: bytes) -> Callable[[int], bytes]:
    """The last one again and again."""
    return lambda number: answers[min(number, len(answers) - 1)]


def test_each_dial_has_a_fresh_token_for_the_address_that_the_exchange_names():
    """And an id of its own."""
    with ScriptedServer(lambda number: answer(number, endpoint="wss://moved.example/endpoint")) as server:
        protocol = KucoinProtocol("spot", Endpoints(rest_url=server.url))
        urls = [urlsplit(protocol.resolve(protocol.endpoint("trades", []))) for _ in range(2)]

    queries = [parse_qs(url.query, strict_parsing=True) for url in urls]
    assert {url._replace(query="").geturl() for url in urls} == {"wss://moved.example/endpoint"}
    assert [query["token"] for query in queries] == [["2neAi0.="], ["2neAi1.="]]
    assert queries[0]["connectId"] != queries[1]["connectId"]


@pytest.mark.parametrize(
    ("endpoints", "begin"),
    [
        ({"ws_url": "ws://127.0.0.1:9"}, "ws://127.0.0.1:9/?token="),
        ({"stream": "ws://127.0.0.1:9/all"}, "ws://127.0.0.1:9/all?token="),
        ({}, "wss://somewhere.example/?token="),
    ],
)
def test_an_address_of_the_user_stays(endpoints, begin):
    """The token is asked for all the same; a path is never empty."""
    with ScriptedServer(lambda number: answer(number, endpoint="wss://somewhere.example")) as server:
        protocol = KucoinProtocol("linear", Endpoints(rest_url=server.url, **endpoints))
        assert protocol.resolve(protocol.endpoint("trades", [])).startswith(begin)


def test_pings_keep_to_the_interval_of_the_answer():
    """A shorter one counts from then on; a longer one does not make them rarer."""
    with ScriptedServer(scripted(answer(0, pingInterval=5000), answer(1, pingInterval=60_000))) as server:
        protocol = KucoinProtocol("spot", Endpoints(rest_url=server.url))
        found = []
        for _ in range(2):
            protocol.resolve(protocol.endpoint("trades", []))
            found.append((protocol.keep_alive.most_s, protocol.keep_alive.is_welcomed))
    assert found == [(4.0, True), (15.0, True)]


@pytest.mark.parametrize(
    "odd",
    [
        {"code": "200000", "data": None},
        {"code": "200000", "data": {"token": "x", "instanceServers": []}},
        {"code": "200000", "data": {"token": "", "instanceServers": [SERVER]}},
        {"code": "200000", "data": {"token": "x", "instanceServers": [{**SERVER, "endpoint": "https://x/"}]}},
        {"code": "200000", "data": {"token": "x", "instanceServers": [{**SERVER, "pingInterval": 0}]}},
        {"code": "500000", "msg": "busy"},
    ],
)
def test_an_answer_without_a_token_is_asked_for_again(odd):
    """As other reads are."""
    with ScriptedServer(scripted(response(json.dumps(odd).encode()), answer(1))) as server:
        protocol = KucoinProtocol("spot", Endpoints(rest_url=server.url))
        assert "token=2neAi1" in protocol.resolve(protocol.endpoint("trades", []))
        assert server.requests == 2


def test_a_token_that_is_refused_ends_the_attempt():
    """As a connection that cannot be dialled; the stream tries again later."""
    with ScriptedServer(scripted(response(b'{"code":"405000","msg":"Request method not supported"}'))) as server:
        protocol = KucoinProtocol("spot", Endpoints(rest_url=server.url))
        with pytest.raises(ConnectionError, match="405000"):
            protocol.resolve(protocol.endpoint("trades", []))
        assert server.requests == 1


def test_streams_that_ask_at_once_disturb_each_other_nowhere():
    """Each stream's thread asks for its own."""
    with ScriptedServer(answer) as server:
        protocol = KucoinProtocol("spot", Endpoints(rest_url=server.url))
        found: list[str] = []
        threads = [
            threading.Thread(target=lambda: found.append(protocol.resolve(protocol.endpoint("trades", []))))
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len({parse_qs(urlsplit(url).query)["token"][0] for url in found}) == 5
