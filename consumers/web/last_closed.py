"""The last closed kline of every market, symbol and interval, for clients that ask when they come.

The event loop's thread. Knows what went out since this process started; nothing older.
"""

from collections.abc import Iterator

from consumers.web.fanout import Filter
from consumers.web.topics import kline_topic
from model.envelope import Envelope
from model.records import Kline

TOPICS_LIMIT = 100_000  # 700 symbols, two markets and many intervals; beyond it the oldest names go
PER_MESSAGE = 100  # klines to an envelope: some 30 kB


class LastClosed:
    """Remembers by topic; a newer start, or a higher revision of the same one, wins."""

    def __init__(self) -> None:
        self._klines: dict[str, tuple[str, str, Kline]] = {}

    def remember(self, envelope: Envelope) -> None:
        """Look at an envelope of klines."""
        for kline in envelope.data:
            topic = kline_topic(envelope.channel, kline)
            known = self._klines.get(topic)
            if known and (known[2].timestamp, known[2].revision) > (kline.timestamp, kline.revision):
                continue
            self._klines[topic] = (envelope.exchange, envelope.channel, kline)
        while len(self._klines) > TOPICS_LIMIT:
            del self._klines[next(iter(self._klines))]

    def envelopes(self, wanted: Filter) -> Iterator[Envelope]:
        """Put what is wanted into envelopes, market by market."""
        found: dict[tuple[str, str], list[Kline]] = {}
        for topic, (exchange, channel, kline) in self._klines.items():
            if wanted.matches(topic):
                found.setdefault((exchange, channel), []).append(kline)
        for (exchange, channel), klines in found.items():
            for begin in range(0, len(klines), PER_MESSAGE):
                yield Envelope(exchange, channel, "klines", tuple(klines[begin : begin + PER_MESSAGE]))
