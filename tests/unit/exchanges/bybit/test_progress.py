"""How far a connection's data has come: by the last message's time, and by answers to pings."""

import json
from typing import cast

import pytest

from exchanges.bybit.progress import AHEAD_MS, PROBE_EVERY_S, DeliveryProgress
from model import ports

NOW = 1_767_717_000_000


class Link:
    """Does at once what is asked of the reading thread."""

    def __init__(self):
        self.sent, self.last_frame_ms = [], 5

    def call_soon(self, action):
        action()

    def send(self, text):
        self.sent.append(json.loads(text))


class Bench:
    def __init__(self):
        self.now_s, self.link, self.recovered = 100.0, Link(), list[str]()
        self.progress = DeliveryProgress(
            cast(ports.Link, self.link), self.recovered.append, 10.0, clock=lambda: self.now_s
        )

    def probe(self, now_ms, after_s=PROBE_EVERY_S):
        self.now_s += after_s
        self.progress.probe(now_ms)

    @property
    def mark(self):
        return self.progress.watermark_ms(NOW)


@pytest.fixture
def bench():
    return Bench()


def trade(ts):
    return b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":%d,"data":[{"T":1,"i":"x"}]}' % ts


def test_nothing_is_known_at_first(bench):
    """Nor by a message without a time, or of a time that is yet to come."""
    assert bench.mark == 0
    for payload in (b"{}", b"", trade(NOW + AHEAD_MS + 1), b'{"ts":"x"}'):
        bench.progress.last = payload
        assert bench.mark == 0


def test_the_time_of_the_last_message_is_proof(bench):
    """Wherever in it it stands."""
    for payload in (trade(NOW - 7), b'{"topic":"x","data":[], "ts" : %d}' % (NOW - 7)):
        bench.progress.last = payload
        assert bench.mark == NOW - 7


def test_an_answered_ping_proves_the_moment_it_was_asked_for(bench):
    """An unanswered one nothing; a later message may prove more."""
    bench.probe(NOW - 50)
    assert bench.mark == 0
    (ping,) = bench.link.sent
    assert ping["op"] == "ping"
    bench.progress.answered(ping["req_id"])
    assert bench.mark == NOW - 50
    bench.progress.last = trade(NOW - 3)
    assert bench.mark == NOW - 3


def test_pings_are_at_most_one_a_second(bench):
    """However often a proof is wanted."""
    for number in range(20):
        bench.probe(NOW + number, after_s=0.1)
    assert len(bench.link.sent) == 2


def test_an_answer_proves_its_own_ping_and_those_before(bench):
    """A pong that names none answers the oldest; one that names a stranger's none."""
    for number in range(3):
        bench.probe(NOW + number)
    bench.progress.answered("heartbeat")
    assert bench.mark == 0
    bench.progress.answered("")
    assert bench.mark == NOW
    bench.progress.answered(bench.link.sent[2]["req_id"])
    assert bench.mark == NOW + 2
    bench.progress.answered(bench.link.sent[1]["req_id"])
    assert bench.mark == NOW + 2


def test_a_ping_without_an_answer_is_found(bench):
    """Unless anything else came since: then the link lives."""
    bench.probe(NOW)
    assert not bench.progress.is_unanswered(bench.now_s + 10.0)
    assert bench.progress.is_unanswered(bench.now_s + 10.1)
    bench.link.last_frame_ms += 1
    assert not bench.progress.is_unanswered(bench.now_s + 10.1)
    bench.probe(NOW)
    bench.progress.answered("")
    assert not bench.progress.is_unanswered(bench.now_s + 100)


def test_after_its_end_a_connection_is_asked_nothing(bench):
    """What it proved stays proven."""
    bench.probe(NOW)
    bench.progress.answered("")
    bench.progress.recover("BTCUSDT")
    bench.progress.end()
    bench.probe(NOW + 1)
    bench.progress.recover("ETHUSDT")
    assert (len(bench.link.sent), bench.recovered, bench.mark) == (1, ["BTCUSDT"], NOW)
