"""Envelopes for the clients of the collector's own protocol: fanned out as they come, last closed klines on request.

The event loop's thread. An envelope is encoded once for all groups that get it whole, and once for each set of its
items that a group gets.
"""

from collections.abc import Collection, Iterator

from consumers.web.fanout import Fanout, Filter, Group
from consumers.web.frames import Message
from consumers.web.topics import kline_topic, symbol_of, topics_of
from model.envelope import Envelope
from model.records import Kline

CONFLATED = frozenset({"ticker", "price"})  # the newest has all that older ones had
TOPICS_LIMIT = 100_000  # 700 symbols, two markets and many intervals; beyond it the oldest names go
PER_MESSAGE = 100  # klines to an envelope: some 30 kB


def publish(fanout: Fanout, envelope: Envelope) -> None:
    """Send the envelope, or its wanted items, to every group that wants some of it."""
    if not len(fanout):
        return
    topics = list(topics_of(envelope))
    if len(topics) == 1:
        groups = fanout.wanting(topics[0])
        if groups:
            message = _message(envelope)
            for group in groups:
                fanout.put(group, message)
        return
    wanted: dict[Group, list[int]] = {}
    for index, topic in enumerate(topics):
        for group in fanout.wanting(topic):
            wanted.setdefault(group, []).append(index)
    made: dict[tuple[int, ...], Message] = {}
    for group, found in wanted.items():
        indexes = tuple(found)
        if indexes not in made:
            is_whole = len(indexes) == len(topics)
            made[indexes] = _message(envelope if is_whole else _part(envelope, indexes))
        fanout.put(group, made[indexes])


def _part(envelope: Envelope, indexes: Collection[int]) -> Envelope:
    data = tuple(envelope.data[index] for index in indexes)
    return Envelope(envelope.exchange, envelope.channel, envelope.data_type, data)


def _message(envelope: Envelope) -> Message:
    if envelope.data_type not in CONFLATED:
        return Message(envelope.json)
    if len(envelope.data) == 1:
        return Message(
            envelope.json, (envelope.exchange, envelope.channel, envelope.data_type, symbol_of(envelope.data[0]))
        )
    return Message(envelope.json, None, tuple(_message(_part(envelope, (i,))) for i in range(len(envelope.data))))


class LastClosed:
    """The last closed kline of every topic since the start of this process: the newest, of its highest revision."""

    def __init__(self) -> None:
        self._klines: dict[str, tuple[str, str, Kline]] = {}

    def add(self, envelope: Envelope) -> None:
        """Add the klines of an envelope."""
        for kline in envelope.data:
            topic = kline_topic(envelope, kline)
            known = self._klines.get(topic)
            if known and (known[2].timestamp, known[2].revision) > (kline.timestamp, kline.revision):
                continue
            self._klines[topic] = (envelope.exchange, envelope.channel, kline)
        while len(self._klines) > TOPICS_LIMIT:
            del self._klines[next(iter(self._klines))]

    def envelopes(self, wanted: Filter) -> Iterator[Envelope]:
        """Return the wanted klines in envelopes of bounded size, market by market."""
        found: dict[tuple[str, str], list[Kline]] = {}
        for topic, (exchange, channel, kline) in self._klines.items():
            if wanted.matches(topic):
                found.setdefault((exchange, channel), []).append(kline)
        for (exchange, channel), klines in found.items():
            for begin in range(0, len(klines), PER_MESSAGE):
                yield Envelope(exchange, channel, "klines", tuple(klines[begin : begin + PER_MESSAGE]))
