"""What `main.py schema` prints, read by the parser of AsyncAPI; wrong messages, as clients of the tests see them."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from app.schema.document import document
from conf.values import EXCHANGES
from tests.acceptance.harness import Subscriber
from tests.support.klines import klines
from tests.support.programs import node_packages, program
from tests.support.schema import connect
from tests.support.settings import settings_of

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 60
ALL = {
    "ENABLED_CONSUMERS": "redis,websocket", "WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k", "REDIS_MAIN_KEY": "all",
    "ENABLE_STATUS_STREAM": "true", "ENABLE_TICKER_STREAM": "true", "ENABLE_TRADES_STREAM": "true",
    "ENABLE_PRICE_STREAM": "true", "STORAGE_ENABLED": "true", "REDIS_STREAMS": "true",
}  # fmt: skip


def parsed(*texts: str) -> list[dict[str, list[object]]]:
    """What the parser of AsyncAPI makes of documents: channels with how many messages they have, and errors."""
    script = node_packages().parent / "asyncapi.mjs"
    done = subprocess.run(
        [program("node"), str(script)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_parser_of_asyncapi_accepts_the_document() -> None:
    """As the command prints it, and for every exchange with all outputs; a reference to nowhere it refuses."""
    done = subprocess.run(
        [sys.executable, "main.py", "schema"], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    documents = [document(settings_of(EXCHANGE=exchange, **ALL)) for exchange in EXCHANGES]
    broken = json.loads(done.stdout)
    broken["channels"]["klines"]["messages"]["KlinesEnvelope"]["$ref"] += "s"

    printed, refused, *others = parsed(done.stdout, json.dumps(broken), *map(json.dumps, documents))

    assert printed["errors"] == []
    assert ["stream:bybit_klines", 1] in printed["channels"]
    assert refused["errors"]
    assert [each["errors"] for each in others] == [[]] * len(EXCHANGES)
    assert all(["all", 5] in each["channels"] for each in others)


@pytest.fixture
def url() -> Iterator[str]:
    """A WebSocket server that sends a right envelope, and one without `exchange`."""

    def talk(connection: ServerConnection) -> None:
        connection.send(klines().json.decode())
        connection.send(klines().json.decode().replace('"exchange"', '"venue"'))

    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/"
        server.shutdown()
        thread.join(5)


def test_the_tests_client_of_the_websocket_finds_a_wrong_message(url: str) -> None:
    """Whatever the test looks at itself."""
    with connect(url) as client:
        client.recv(timeout=30)
        with pytest.raises(AssertionError, match="exchange"):
            client.recv(timeout=30)


@pytest.mark.parametrize("channel", ["stream:bybit_klines", "stream:bybit_status", "stream:everything"])
def test_the_tests_subscriber_of_redis_finds_a_wrong_message(valkey, channel: str) -> None:
    """At its end; raw channels carry what the exchange likes."""

    def see(*channels: str) -> None:
        with Subscriber(valkey.port), valkey.client() as client:
            for name in channels:
                client.publish(name, b'{"exchange":"bybit","event":"gap","ts":"soon"}')

    see("stream:bybit_trades", "stream:bybit_spot_orderbook")
    with pytest.raises(AssertionError, match="ts must be integer"):
        see(channel)
