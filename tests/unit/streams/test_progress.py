"""How far a connection's data has come: by the last message's time, and by answers to pings."""

import json
from typing import cast

import pytest

from exchanges.bybit.protocol import SENT_MS, BybitProtocol
from model import ports
from streams.progress import AHEAD_MS, PROBE_EVERY_S, PROBES_KEPT, DeliveryProgress

NOW = 1_767_717_000_000

PING = BybitProtocol.keep_alive


class Link:
    """A link that calls at once what `call_soon` is given."""

    def __init__(self):
        self.sent, self.last_frame_ms = [], 5

    def call_soon(self, action):
        action()

    def send(self, text):
        self.sent.append(json.loads(text))


class Harness:
    def __init__(self):
        self.now_s, self.link, self.recovered = 100.0, Link(), list[str]()
        self.progress = DeliveryProgress(
            cast(ports.Link, self.link), self.recovered.append, 10.0, SENT_MS, PING, clock=lambda: self.now_s
        )

    def probe(self, now_ms, after_s=PROBE_EVERY_S):
        self.now_s += after_s
        self.progress.probe(now_ms)

    @property
    def mark(self):
        return self.progress.watermark_ms(NOW)


@pytest.fixture
def harness():
    return Harness()


def trade(ts):
    return b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":%d,"data":[{"T":1,"i":"x"}]}' % ts


def test_nothing_is_known_at_first(harness):
    """Nor by a message without a time, or of a time that is yet to come."""
    assert harness.mark == 0
    for payload in (b"{}", b"", trade(NOW + AHEAD_MS + 1), b'{"ts":"x"}'):
        harness.progress.last = payload
        assert harness.mark == 0


def test_the_time_of_the_last_message_is_proof(harness):
    """Wherever in it it stands."""
    for payload in (trade(NOW - 7), b'{"topic":"x","data":[], "ts" : %d}' % (NOW - 7)):
        harness.progress.last = payload
        assert harness.mark == NOW - 7


def test_an_answered_ping_proves_the_time_it_was_sent_for(harness):
    """An unanswered one nothing; a later message may prove more."""
    harness.probe(NOW - 50)
    assert harness.mark == 0
    (ping,) = harness.link.sent
    assert ping["op"] == "ping"
    harness.progress.answered(ping["req_id"])
    assert harness.mark == NOW - 50
    harness.progress.last = trade(NOW - 3)
    assert harness.mark == NOW - 3


def test_pings_are_at_most_one_a_second(harness):
    """However often a proof is wanted."""
    for number in range(20):
        harness.probe(NOW + number, after_s=0.1)
    assert len(harness.link.sent) == 2


def test_an_answer_proves_its_own_ping_and_those_before(harness):
    """A pong that names none answers the oldest; one that names another's none."""
    for number in range(3):
        harness.probe(NOW + number)
    harness.progress.answered("heartbeat")
    assert harness.mark == 0
    harness.progress.answered("")
    assert harness.mark == NOW
    harness.progress.answered(harness.link.sent[2]["req_id"])
    assert harness.mark == NOW + 2
    harness.progress.answered(harness.link.sent[1]["req_id"])
    assert harness.mark == NOW + 2


def test_a_ping_without_an_answer_is_found(harness):
    """Unless anything else came since: then the link lives."""
    harness.probe(NOW)
    assert not harness.progress.is_unanswered(harness.now_s + 10.0)
    assert harness.progress.is_unanswered(harness.now_s + 10.1)
    harness.link.last_frame_ms += 1
    assert not harness.progress.is_unanswered(harness.now_s + 10.1)
    harness.probe(NOW)
    harness.progress.answered("")
    assert not harness.progress.is_unanswered(harness.now_s + 100)


def test_nothing_is_sent_after_the_end_of_a_connection(harness):
    """What it proved stays proven."""
    harness.probe(NOW)
    harness.progress.answered("")
    harness.progress.recover("BTCUSDT")
    harness.progress.end()
    harness.probe(NOW + 1)
    harness.progress.recover("ETHUSDT")
    assert (len(harness.link.sent), harness.recovered, harness.mark) == (1, ["BTCUSDT"], NOW)


def test_answers_that_name_no_ping_are_those_of_the_oldest_ever_sent(harness):
    """Also of those that are not remembered: what proves too much would complete a candle too early."""
    for number in range(PROBES_KEPT + 3):
        harness.probe(NOW + number)
    for _ in range(3):
        harness.progress.answered("")
        assert harness.mark == 0
    harness.progress.answered("")
    assert harness.mark == NOW + 3
    harness.probe(NOW + 99)
    harness.progress.answered(harness.link.sent[-1]["req_id"])
    assert harness.mark == NOW + 99


def test_a_ping_sent_by_a_clock_that_was_ahead_proves_nothing_later(harness):
    """Its answer does not prove a time that had not come when it was sent."""
    harness.probe(NOW + 2_000)
    harness.progress.answered("p1")
    assert harness.progress.watermark_ms(NOW) == 0
    assert harness.progress.watermark_ms(NOW + 1_500) == 0
