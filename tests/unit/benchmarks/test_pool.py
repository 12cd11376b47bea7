"""The messages of the benchmarks: as the simulator makes them, new each time they are sent."""

import json
import re

import pytest

from benchmarks.pool import STAMP_US, Slot, render, symbols_of, topics_of

SYMBOLS = symbols_of(2)
MS, US = 1763634000123, 1763634000123456


@pytest.fixture(scope="module")
def pool() -> list[Slot]:
    return render({"linear": 2}, 6_000)


def sent(slot: Slot, us: int = US) -> bytes:
    return (b"%d" % (us // 1000)).join(slot.parts) + b"%d}" % us


def test_a_frame_is_whole_json_behind_an_exact_header(pool: list[Slot]) -> None:
    """Also where the header's length holds the byte of a brace."""
    assert any(b"{" in slot.parts[0][:4] for slot in pool)
    for slot in pool:
        frame = sent(slot)
        header = 2 if slot.size < 126 else 4
        assert len(frame) == header + slot.size
        assert int.from_bytes(frame[2:4], "big") == slot.size if header == 4 else frame[1] == slot.size
        assert f"linear/{json.loads(frame[header:])['topic']}" == slot.topic


def test_every_time_in_a_message_is_the_time_of_sending(pool: list[Slot]) -> None:
    """The message's, the trades', and the microseconds that end it."""
    for slot in pool:
        message = json.loads(sent(slot)[2 if slot.size < 126 else 4 :])
        assert message["ts"] == MS
        assert list(message)[-1] == "us"
        assert message["us"] == US
        assert slot.trades == (len(message["data"]) if slot.kind == "trades" else 0)
        if slot.kind == "trades":
            assert {trade["T"] for trade in message["data"]} == {MS}
    assert len(str(US)) == len(STAMP_US)


def test_a_second_round_repeats_no_trade_id(pool: list[Slot]) -> None:
    """The collector would take a repeated trade for a duplicate and spare itself the counting."""
    rounds = [b"".join(sent(slot, US + late) for slot in pool) for late in (0, 5_000)]
    ids = [number for text in rounds for number in re.findall(rb'"i":"([^"]{36})"', text)]
    assert len(ids) > 2_000
    assert len(set(ids)) == len(ids)


def test_books_and_tickers_begin_with_a_snapshot(pool: list[Slot]) -> None:
    """A pool sent in a circle is a market that starts anew, not deltas to a foreign book."""
    first: dict[str, Slot] = {}
    for slot in pool:
        first.setdefault(slot.topic, slot)
    assert set(first) == {f"linear/{topic}" for topic in topics_of(SYMBOLS)}
    for slot in first.values():
        if slot.kind in ("orderbook", "ticker"):
            assert b'"type":"snapshot"' in slot.parts[0]


def test_spot_has_channels_of_its_own_and_no_liquidations() -> None:
    """Its trade ids are numbers; a second round must not repeat them either."""
    slots = render({"linear": 1, "spot": 1}, 2_000)
    assert {slot.kind for slot in slots if slot.topic.startswith("spot/")} == {
        "spot_trades", "spot_orderbook", "spot_ticker",
    }  # fmt: skip
    ids = re.findall(rb'"i":"([^"]+)"', b"".join(sent(slot, US + late) for late in (0, 5_000) for slot in slots))
    assert len(ids) > 1_000
    assert len(set(ids)) == len(ids)


def test_a_payload_is_filled_up_to_the_size_given() -> None:
    """Filled ones stay JSON and keep their stamp at the end; longer ones stay as they are."""
    for slot in render({"linear": 1}, 500, ("ticker",), 5_000):
        frame = sent(slot)
        assert slot.size == 5_000
        assert json.loads(frame[4:])["us"] == US
