"""The callbacks that users name, `handle_<kind>`: each hands a message to the pipeline of its kind and market.

On a stream's thread the collector and the market are the stream's. A message names no market: elsewhere, on pybit's
own thread for example, it is the callback's, CHANNEL_TYPE for `handle_trades` and spot for `handle_spot_trades`.

The streams of a running collector do not call these for every message: each connection is given the pipeline itself.
Other programs may, on any thread and with any form of a message: it is checked here, so that a wrong one costs itself.
"""

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog

from model.context import RunningCollector, current, running_collector
from model.records import FeedMarker

Message = bytes | str | bytearray | memoryview | Mapping[str, Any]
"""A message as programs have it: the exchange's text, or what a JSON parser made of it."""

NOT_A_MESSAGE = "not_a_message"  # the cause of a fault
NO_COLLECTOR = "no collector runs: payloads have nowhere to go before main.run(), and after it"

log = structlog.get_logger()


class PayloadCallback:
    """A function of one message of a kind. `market` None is the main one; on a stream's thread it is the stream's."""

    never_blocks = True

    def __init__(self, kind: str, market: str | None = None) -> None:
        self.kind = kind
        self.market = market
        self._is_drop_logged = False

    def __call__(self, message: Message) -> None:
        """Hand on one message: bytes exactly as they are, text as UTF-8, a parsed message (pybit's) as JSON anew.

        What was parsed is not the exchange's bytes any more: fields keep their order, spaces and number forms need not.
        Anything else is counted as a fault and left out. Any thread; never blocks. While no collector runs it is a
        RuntimeError on the main thread; elsewhere a log line, once, for an exception would end pybit's own thread.
        """
        self.put_all((message,))

    def put_all(self, messages: Iterable[Message] | Message) -> None:
        """Hand on messages in their order, each like one alone."""
        if (running := self._running()) is None:
            return
        payloads: list[bytes] = []
        try:
            for message in _each_of(messages):
                try:
                    if payload := _payload_of(message):
                        payloads.append(payload)
                    else:
                        running.report(NOT_A_MESSAGE, f"{type(message).__name__}: empty".encode())
                except Exception as error:  # noqa: BLE001 - an object of the user's may raise anything when it is read
                    running.report(NOT_A_MESSAGE, f"{type(message).__name__}: {error}".encode())
        finally:  # also what came before an iterable failed
            if payloads:
                running.pipeline(current().market or self.market, self.kind).put_all(payloads)

    take_all = put_all  # its name before

    def mark(self, marker: FeedMarker) -> None:
        """Hand on that the feed of the marker's market came up or went down here."""
        if running := self._running():
            running.pipeline(marker.market, self.kind).mark(marker)

    def _running(self) -> RunningCollector | None:
        if collector := running_collector():
            self._is_drop_logged = False
            return collector
        if threading.current_thread() is threading.main_thread():
            raise RuntimeError(NO_COLLECTOR)
        if not self._is_drop_logged:
            self._is_drop_logged = True
            has_ended = current().collector is not None
            log.log(
                logging.INFO if has_ended else logging.ERROR,
                "message_dropped",
                callback=repr(self),
                problem=NO_COLLECTOR,
            )
        return None

    def __repr__(self) -> str:
        return f"<callback for {self.market or 'main market'} {self.kind}>"


def _each_of(messages: Iterable[Message] | Message) -> Iterable[Any]:
    """The messages of a batch; one message alone is a batch of itself, not of the bytes or keys in it."""
    is_one = isinstance(messages, (bytes, str, bytearray, memoryview, Mapping)) or not isinstance(messages, Iterable)
    return (messages,) if is_one else messages


def _payload_of(message: Any) -> bytes:
    if type(message) is bytes:
        return message
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message)
    if isinstance(message, Mapping):
        return msgspec.json.encode(message if isinstance(message, dict) else dict(message))
    raise TypeError("must be bytes, str or a parsed message (dict)")
