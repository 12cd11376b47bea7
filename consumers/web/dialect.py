"""The web server's side of a dialect (model/dialect.py): where it publishes, and a client as its session uses it.

The event loop's thread. Depends on no exchange.
"""

from collections.abc import Iterable

from consumers.web.client import Client
from consumers.web.fanout import Fanout
from consumers.web.frames import Answer, Message


class DialectFanout(Fanout):
    """The clients of a dialect, grouped by equal sets of topics."""

    def is_wanted(self, market: str, topic: str) -> bool:
        """Return whether any client subscribed to the topic."""
        return bool(self.wanting(f"{market}:{topic}"))

    def publish(self, market: str, topic: str, payload: bytes, conflate: object = None) -> None:
        """Send a message to the topic's subscribers; it is encoded once, and not at all where there are none."""
        groups = self.wanting(f"{market}:{topic}")
        if groups:
            message = Message(payload, conflate)
            for group in groups:
                self.put(group, message)


class TopicSet(frozenset[str]):
    """A set of topics as a filter."""

    def matches(self, key: str) -> bool:
        """Return whether a topic, market first, is in the set."""
        return key in self


class DialectPeer:
    """One client, as its session uses it."""

    def __init__(self, client: Client, fanout: Fanout) -> None:
        self._client = client
        self._fanout = fanout
        self.connection_id = str(client.connection.id)

    @property
    def is_open(self) -> bool:
        """Whether data may still be sent."""
        return self._client.is_open

    def send(self, payload: bytes) -> None:
        """Send one message of data."""
        self._client.send(Message(payload))

    def answer(self, text: str) -> None:
        """Send one answer of the protocol."""
        self._client.send(Answer(text.encode()))

    def subscribe(self, market: str, topics: Iterable[str]) -> None:
        """Send the messages of these topics from now on, and of no others."""
        self._fanout.move(self._client, TopicSet(f"{market}:{topic}" for topic in topics))
