"""Status events of the collector, handed to functions of the user's: gap, repaired, connected, disconnected, ...

A thread of its own. They come by the status channel of Redis; what it may have missed, and everything where there is no
Redis, is read from the collector's journal.
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from .api import Api
from .records import FeedError, read_json
from .sources import Source, SourceLostError

POLL_S = 1.0
KNOWN = 2_000  # events that are told apart from those read again
BEHIND = 1_000  # of the journal, after an outage

Event = dict[str, Any]
Take = Callable[[Event], object]


class Events:
    """Calls functions for events, on its thread; what they raise is printed, and ends nothing."""

    def __init__(self, source: Source, api: Api | None) -> None:
        self._source, self._api = source, api
        self._takers: list[tuple[str, Take]] = []
        self._known: deque[str] = deque(maxlen=KNOWN)
        self._after = -1
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="feed-events", daemon=True)

    def add(self, name: str, take: Take) -> None:
        """Have a function called for events of a name; "*" for all."""
        self._takers = [*self._takers, (name, take)]
        if self._thread.ident is None:
            self._begin()
            self._thread.start()

    def close(self) -> None:
        """End the thread; does not wait."""
        self._is_closed = True

    def _begin(self) -> None:
        """Connect, and pass over what happened before."""
        try:
            self._source.connect()
        except SourceLostError as error:
            raise FeedError(f"{error}.") from None
        for event in self._read_journal():
            self._is_new(event)

    def _run(self) -> None:
        is_connected = True
        while not self._is_closed:
            try:
                if not is_connected:
                    self._source.connect()
                    is_connected = True
                    self._tell_journal()
                message = self._source.next(POLL_S)
                if message is not None:
                    self._tell(read_json(message))
                elif not self._source.is_pushed:
                    self._tell_journal()
            except SourceLostError:
                is_connected = False
                time.sleep(POLL_S)
            except (FeedError, ValueError):
                time.sleep(POLL_S)  # the collector is away, and will be back
        self._source.close()

    def _tell_journal(self) -> None:
        for event in self._read_journal():
            self._tell(event)

    def _read_journal(self) -> list[Event]:
        """Return what the journal has since it was read last; nothing where there is none."""
        if self._api is None:
            return []
        try:
            events, after = self._api.journal(self._after, BEHIND)
        except FeedError:
            if self._source.is_pushed:
                return []
            raise
        self._after = max(after, self._after)
        return events

    def _tell(self, event: Event) -> None:
        if not self._is_new(event):
            return
        for name, take in self._takers:
            if name in ("*", event.get("event")):
                try:
                    take(event)
                except Exception:  # noqa: BLE001 - the user's function; the next event is handed over all the same
                    traceback.print_exc()

    def _is_new(self, event: Event) -> bool:
        text = repr([event.get(name) for name in ("ts", "event", "stream", "topic", "sink", "market")])
        if text in self._known:
            return False
        self._known.append(text)
        return True
