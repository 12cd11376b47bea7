"""Envelopes to the groups that want them: whole, or narrowed to the items that are wanted.

The event loop's thread. An envelope is encoded once however many groups get it whole, and once for each set of
items that some group gets of it.
"""

from collections.abc import Callable

from consumers.web.fanout import Fanout, Group
from consumers.web.frames import Message
from consumers.web.topics import symbol_of, topics_of
from model.envelope import Envelope

CONFLATED = frozenset({"ticker", "price"})  # the newest says all that older ones said

Indexes = tuple[int, ...]


def publish(fanout: Fanout, envelope: Envelope) -> None:
    """Give the envelope to every group that wants some of it."""
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
    made = _maker(envelope)
    for group, indexes in wanted.items():
        fanout.put(group, made(tuple(indexes)))


def _maker(envelope: Envelope) -> Callable[[Indexes], Message]:
    made: dict[Indexes, Message] = {}

    def make(indexes: Indexes) -> Message:
        message = made.get(indexes)
        if message is None:
            is_whole = len(indexes) == len(envelope.data)
            message = made[indexes] = _message(envelope if is_whole else _part(envelope, indexes))
        return message

    return make


def _part(envelope: Envelope, indexes: Indexes) -> Envelope:
    data = tuple(envelope.data[index] for index in indexes)
    return Envelope(envelope.exchange, envelope.channel, envelope.data_type, data)


def _message(envelope: Envelope) -> Message:
    if envelope.data_type not in CONFLATED:
        return Message(envelope.json)
    if len(envelope.data) == 1:
        return Message(envelope.json, (envelope.channel, envelope.data_type, symbol_of(envelope.data[0])))
    return Message(envelope.json, None, tuple(_message(_part(envelope, (i,))) for i in range(len(envelope.data))))
