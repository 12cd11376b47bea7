"""Generated messages have the keys, key order and types of Bybit's recorded ones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Harness, payloads

# file, category; then topic prefix, type, what we ask for, and whether the recording is new enough to be complete
CASES = [
    ("publicTrade_BTCUSDC_spot.jsonl", "spot", "publicTrade", "snapshot", "publicTrade.BTCUSDT", True),
    ("bybit_spot_v5.jsonl", "spot", "publicTrade", "snapshot", "publicTrade.BTCUSDT", False),
    ("bybit_spot_v5.jsonl", "spot", "orderbook.1", "snapshot", "orderbook.1.BTCUSDT", False),
    ("bybit_spot_v5.jsonl", "spot", "orderbook.50", "delta", "orderbook.50.BTCUSDT", False),
    ("spot_mixed_2023-12-24.jsonl", "spot", "orderbook.200", "snapshot", "orderbook.200.BTCUSDT", False),
    ("bybit_raw_stream_sample.txt", "linear", "publicTrade", "snapshot", "publicTrade.BTCUSDT", True),
    ("bybit_raw_stream_sample.txt", "linear", "orderbook.1", "snapshot", "orderbook.1.BTCUSDT", True),
    ("bybit_raw_stream_sample.txt", "linear", "orderbook.50", "delta", "orderbook.50.BTCUSDT", True),
    ("orderbook500_XRPUSDT_linear_2024-12-01.jsonl", "linear", "orderbook", "snapshot", "orderbook.1000.BTCUSDT", True),
    ("orderbook500_XRPUSDT_linear_2024-12-01.jsonl", "linear", "orderbook", "delta", "orderbook.200.BTCUSDT", True),
    ("bybit_derivatives_v5.jsonl", "inverse", "publicTrade.BTCUSD", "snapshot", "publicTrade.BTCUSD", False),
    ("bybit_derivatives_v5.jsonl", "inverse", "tickers.BTCUSD", "snapshot", "tickers.BTCUSD", False),
    ("bybit_derivatives_v5.jsonl", "inverse", "tickers.BTCUSD", "delta", "tickers.BTCUSD", False),
    ("bybit_allLiquidation_v5.jsonl", "linear", "allLiquidation", "snapshot", "allLiquidation.BTCUSDT", True),
    ("bybit_options_v5.jsonl", "option", "publicTrade", "snapshot", "publicTrade.BTC", False),
    ("bybit_options_v5.jsonl", "option", "tickers", "snapshot", "tickers.BTC-25DEC26-67251-C-USDT", True),
    ("bybit_options_v5.jsonl", "option", "orderbook", "delta", "orderbook.25.BTC-25DEC26-67251-C-USDT", False),
]


def recorded(path: Path) -> Iterator[dict[str, Any]]:
    """Messages of a recording, stamps cut off."""
    for line in path.read_text().splitlines():
        if "{" in line:
            yield json.loads(line[line.index("{") :])


def generated(harness: Harness, category: str, topic: str, kind: str) -> list[dict[str, Any]]:
    """Messages of one topic and type."""
    session = harness.client(category)
    first = harness.ask(session, op="subscribe", args=[topic])[:-1]
    harness.run(4000)
    return [message for message in (*first, *payloads(session)) if message["type"] == kind]


def first_row(message: dict[str, Any]) -> dict[str, Any]:
    """The one object of a book or ticker, the first of a list."""
    data = message["data"]
    return dict(data[0] if isinstance(data, list) else data)


def shape(row: dict[str, Any]) -> dict[str, type]:
    """Keys in order with their types."""
    return {key: type(value) for key, value in row.items()}


def is_within(part: dict[str, type], whole: dict[str, type]) -> bool:
    """True where `part` is `whole` with keys left out, order and types kept."""
    return list(part.items()) == [(key, kind) for key, kind in whole.items() if key in part]


@pytest.mark.parametrize(("file", "category", "prefix", "kind", "topic", "is_complete"), CASES)
def test_messages_have_the_recorded_shape(
    shared_data: Path, harness: Harness, file: str, category: str, prefix: str, kind: str, topic: str, is_complete: bool
) -> None:
    """Older recordings may lack the keys that came later; nothing else may differ."""
    theirs = [m for m in recorded(shared_data / "ws" / file) if _is_case(m, prefix, kind)]
    ours = generated(harness, category, topic, kind)
    assert theirs
    assert ours
    for pick in (dict, first_row):
        their_shapes = [shape(pick(message)) for message in theirs]
        our_shape: dict[str, type] = {}
        for message in ours if kind != "delta" or prefix != "tickers.BTCUSD" else ():
            our_shape = shape(pick(message))
        if not our_shape:  # ticker deltas leave keys out: compare with the snapshot's order
            our_shape = shape(pick(generated(harness, category, topic, "snapshot")[0]))
            assert all(is_within(shape(pick(message)), our_shape) for message in ours)
        assert all(is_within(their_shape, our_shape) for their_shape in their_shapes)
        if is_complete:
            assert our_shape in their_shapes


def _is_case(message: dict[str, Any], prefix: str, kind: str) -> bool:
    topic = message.get("topic", "")
    return message.get("type") == kind and (topic == prefix or topic.startswith(prefix + "."))


def test_linear_ticker_has_the_documented_keys(shared_data: Path, harness: Harness) -> None:
    """The documentation's perpetual example, key by key."""
    text = (shared_data / "rest/docs/v5/websocket/public/ticker.0.json.txt").read_text()
    documented, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    ours = generated(harness, "linear", "tickers.BTCUSDT", "snapshot")[0]
    assert (list(ours), shape(ours["data"])) == (list(documented), shape(documented["data"]))


def test_spot_ticker_and_kline_have_the_documented_keys(shared_data: Path, harness: Harness) -> None:
    """In the documentation's order."""
    folder = shared_data / "rest/docs/v5/websocket/public"
    documented = json.loads((folder / "ticker.2.json").read_text())
    ours = generated(harness, "spot", "tickers.BTCUSDT", "snapshot")[0]
    assert (shape(ours), shape(ours["data"])) == (shape(documented), shape(documented["data"]))
    session = harness.subscribe("linear", "kline.5.BTCUSDT")
    harness.market.push_klines()
    ours, documented = payloads(session)[0], json.loads((folder / "kline.0.json").read_text())
    assert (shape(ours), shape(first_row(ours))) == (shape(documented), shape(first_row(documented)))
