"""The messages of every exchange in the benchmarks: whole, of now, and without a hole in their ids over rounds."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.exchange_pool import EXCHANGES, SHARES, Pool, render_exchange
from benchmarks.floor_plan import MARKS, plan_of
from benchmarks.pool import CATEGORY, Slot
from exchanges.contract import Endpoints, TradeRules
from exchanges.registry import VENUES
from model.protocol import Answer, Pong
from model.records import Kind

MS, US = 1763634000123, 1763634000123456
ROUNDS = 3


@pytest.fixture(scope="module", params=EXCHANGES)
def exchange(request: pytest.FixtureRequest) -> tuple[str, Pool]:
    name: str = request.param
    return name, render_exchange(name, 4, 4_000)


def sent(slot: Slot, number: int = 0) -> bytes:
    """The frame in a round of the pool, as the flooder sends it."""
    now_ms = MS + number
    data = (b"%d" % now_ms).join(slot.parts)
    return (data % tuple(i + slot.step * number for i in slot.ids) if slot.ids else data) + b"%d}" % (US + number)


def payload_of(frame: bytes) -> bytes:
    if frame.startswith(b"{"):  # its frame is made when it is sent
        return frame
    return frame[4 if frame[1] == 126 else 2 :] if frame[1] < 127 else frame[10:]


def kinds_of(name: str) -> list[Kind]:
    """The kinds of messages that an exchange has of the linear market."""
    return [kind for kind in SHARES if kind in VENUES[name].markets[CATEGORY].kinds]


def payloads(pool: Pool, kind: str) -> Iterator[tuple[str, bytes]]:
    """Topic and payload over rounds, the first messages of a new subscriber in the first alone."""
    for number in range(ROUNDS):
        for slot in pool.slots:
            if slot.kind == kind and not (number and slot.is_first):
                yield slot.topic.partition("/")[2], payload_of(sent(slot, number))


def test_a_frame_is_whole_json_of_the_topics_it_is_counted_for(exchange: tuple[str, Pool]) -> None:
    """Behind an exact header, in every round: ids keep their length."""
    name, pool = exchange
    protocol = VENUES[name].protocol(CATEGORY, Endpoints())
    for slot in pool.slots:
        for number in (0, ROUNDS):
            frame = sent(slot, number)
            payload = payload_of(frame)
            assert len(payload) == slot.size
            assert EXCHANGES[name].wrap or slot.size in (
                frame[1],
                int.from_bytes(frame[2:4], "big"),
                int.from_bytes(frame[2:10], "big"),
            )
            assert json.loads(payload)["us"] == US + number
            message: Any = protocol.read(payload)
            assert f"{CATEGORY}/{message.topic}" == slot.topic
            assert protocol.frames(slot.kind, ()).is_data(payload)  # type: ignore[arg-type]


def test_the_four_kinds_have_the_same_shares_at_every_exchange(exchange: tuple[str, Pool]) -> None:
    """However many messages it makes of one moment's trades."""
    counts = Counter(slot.kind for slot in exchange[1].slots if not slot.is_first)
    assert {kind: round(count / counts.total(), 1) for kind, count in counts.items()} == {
        kind: round(share, 1) for kind, share in SHARES.items() if kind in kinds_of(exchange[0])
    }


def test_trades_are_of_now_and_none_is_missing_or_repeated_over_rounds(exchange: tuple[str, Pool]) -> None:
    """As the venue's own decoder reads them: what it leaves out takes an id, what it counts is announced."""
    name, pool = exchange
    problems: list[str] = []
    decode = VENUES[name].decoder(CATEGORY, TradeRules(), lambda cause, _sample: problems.append(cause))
    batch = decode([payload for _, payload in payloads(pool, "trades")])
    assert not problems
    assert {MS + number for number in range(ROUNDS)} == set(batch.event_ms)
    assert len(batch.symbols) == ROUNDS * sum(slot.trades for slot in pool.slots) > 3_000
    ids: defaultdict[str, list[Any]] = defaultdict(list)
    matches = batch.matches or [1] * len(batch.ids)
    for symbol, number, count in zip(batch.symbols, batch.ids, matches, strict=True):
        ids[symbol] += (
            [number] if VENUES[name].ids != "consecutive" else range(int(number) - count + 1, int(number) + 1)
        )
    for symbol, number in batch.uncounted:
        ids[symbol].append(number)
    for each in ids.values():
        assert len(set(each)) == len(each)
        if VENUES[name].ids == "consecutive":
            assert max(each) - min(each) + 1 == len(each)


def test_every_book_goes_on_where_the_message_before_it_ended(exchange: tuple[str, Pool]) -> None:
    """By the sequence that the venue declares: over rounds no watch sees a gap."""
    name, pool = exchange
    sequence = VENUES[name].protocol(CATEGORY, Endpoints()).frames("orderbook", ()).sequence
    if sequence is None:
        pytest.skip("its books are whole each time")
    last: dict[str, int] = {}
    followed = 0
    for topic, payload in payloads(pool, "orderbook"):
        own = sequence.own.search(payload)
        assert own
        if topic in last:
            assert sequence.link % (last[topic] + sequence.step) in payload
            followed += 1
        last[topic] = int(own[1])
    assert followed > 3_000


def test_no_time_of_the_market_that_was_rendered_is_left(exchange: tuple[str, Pool]) -> None:
    """But for those a day before, in tickers."""
    for slot in exchange[1].slots:
        if slot.kind != "ticker":
            assert not re.search(rb'"(?:T|E|ts)":"?1(?:699999999|700000000)\d{3}\b', sent(slot))


@pytest.mark.parametrize("name", EXCHANGES)
def test_requests_of_the_venue_are_answered_as_it_reads_answers(name: str) -> None:
    """All topics of a request are subscribed and accepted; a ping in a text has its pong."""
    protocol, spec = VENUES[name].protocol(CATEGORY, Endpoints()), VENUES[name].markets[CATEGORY]
    answer = EXCHANGES[name].answer
    for kind in kinds_of(name):
        symbols = ["BTC-USDT-SWAP", "ETH-USDT-SWAP"][: protocol.limits.topics_per_message or None]
        asked = protocol.topics(kind, symbols, spec.depths[0])
        topics, answers = answer(protocol.subscribe("7", asked).encode())
        assert topics == asked
        found = [protocol.read(text.encode()) for text in answers]
        assert all(isinstance(each, Answer) and each.success for each in found)
        assert all(each.req_id == "7" or each.accepted for each in found)  # type: ignore[union-attr]
    if protocol.keep_alive.text is not None:
        topics, answers = answer(protocol.keep_alive.text("8").encode())
        assert not topics
        assert [type(protocol.read(text.encode())) for text in answers] == [Pong]


def test_the_floor_subscribes_every_topic_and_finds_the_kind_of_every_payload(exchange: tuple[str, Pool]) -> None:
    """Each topic once, however many connections it has; a payload goes to the channel of its own kind."""
    name, pool = exchange
    assert MARKS.keys() == EXCHANGES.keys()
    plan = plan_of(name, pool.symbols[CATEGORY], connections=3)
    requests = [request for each in plan["requests"] for request in each]
    topics = [topic for request in requests for topic in EXCHANGES[name].answer(request.encode())[0]]
    assert len(plan["requests"]) == 3
    assert len(topics) == len(set(topics)) == pool.topics
    assert {f"{CATEGORY}/{topic}" for topic in topics} >= {slot.topic for slot in pool.slots}
    for slot in pool.slots:
        begin = payload_of(sent(slot))[:120]
        found = [channel for mark, channel in plan["marks"] if mark.encode() in begin]
        assert found[0] == f"stream:{name}_{slot.kind}", begin
