"""Which streams are down or silent, of the figures that the supervisor has. Pure; times are monotonic seconds.

A class is a market and a kind. One is down where a connection of it has not been live for a while, and silent where its
connections are live and none brings anything for longer than its rhythm explains. So a quiet symbol alone is no fault.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal, NamedTuple

from streams.supervisor import StreamStatus

DOWN_AFTER_S = 5.0  # a reconnect takes two
STARTING_S = 30.0  # a class that was never live is starting for so long
STEADY_SHARE = 0.9  # of the silence after which a connection is ended, and opened anew with a snapshot
RESUMED_S = 5.0  # for so long data has come again without a pause: a snapshot alone ends no silence
USUAL_GAPS = 100  # of their mean gaps, after which kinds with no steady rhythm are silent; no sooner than steady ones
UNKNOWN = "the user's"  # market and kind of a function of the user's that has not streamed yet

Rhythm = Literal["steady", "usual", "any"]
"""`steady`: something always comes; `usual`: about as often as until now; `any`: silence proves nothing."""


class Trouble(NamedTuple):
    """Why something is not ready. `reason` is a word of the list in app/health.py; `what` says it in words."""

    reason: str
    what: str
    since_s: float


@dataclass
class _Class:
    """What is remembered of a market and kind."""

    live_since_s: float | None = None  # when it was first seen live
    not_live_since_s: dict[str, float] = field(default_factory=dict)  # streams that are not live, by name
    silent_since_s: float | None = None
    resumed_s: float | None = None  # when data came again after a silence

    def silence(self, data_s: float, now_s: float, limit_s: float) -> float | None:
        """Return since when it is silent, None where it is not; `data_s` is when data came last."""
        if now_s - data_s >= limit_s:
            self.silent_since_s = data_s if self.silent_since_s is None else self.silent_since_s
        if self.silent_since_s is None:
            return None
        if now_s - data_s >= min(RESUMED_S, limit_s):
            self.resumed_s = None
        elif self.resumed_s is None:
            self.resumed_s = data_s
        elif data_s - self.resumed_s >= min(RESUMED_S, limit_s):
            self.silent_since_s = self.resumed_s = None
        return self.silent_since_s


class StreamWatch:
    """Remembers since when streams are not live; call `look` every few seconds, by one thread at a time."""

    def __init__(
        self,
        rhythm_of: Callable[[str, str], Rhythm],
        silence_s: float,
        *,
        down_after_s: float = DOWN_AFTER_S,
        starting_s: float = STARTING_S,
    ) -> None:
        """`silence_s`: after which silence a connection of a steady kind is opened anew."""
        self._rhythm_of, self._silence_s = rhythm_of, silence_s * STEADY_SHARE
        self._down_after_s, self._starting_s = down_after_s, starting_s
        self._classes: dict[tuple[str, str], _Class] = {}
        self._begun_s: float | None = None

    def look(self, streams: Iterable[StreamStatus], now_s: float) -> list[Trouble]:
        """Return what is wrong now; `streams` are all that are wanted."""
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        by_class = sorted(streams, key=_class_of)
        found, seen = [], set()
        for key, group in groupby(by_class, _class_of):
            seen.add(key)
            found += self._look_at(key, list(group), now_s)
        for key in self._classes.keys() - seen:
            del self._classes[key]
        return found

    def _look_at(self, key: tuple[str, str], streams: list[StreamStatus], now_s: float) -> list[Trouble]:
        of_class = self._classes.setdefault(key, _Class())
        name = " ".join(key)
        known = of_class.not_live_since_s
        of_class.not_live_since_s = {
            stream.name: known.get(stream.name, now_s) for stream in streams if not _is_live(stream)
        }
        away = of_class.not_live_since_s.values()
        if len(away) < len(streams) and of_class.live_since_s is None:
            of_class.live_since_s = now_s
        begun_s = now_s if self._begun_s is None else self._begun_s
        if of_class.live_since_s is None and now_s - begun_s < self._starting_s:
            return [Trouble("starting", f"{name} is not connected yet", begun_s)]
        if down := [since_s for since_s in away if now_s - since_s >= self._down_after_s]:
            what = f"{name}: {len(down)} of {len(streams)} connections are down"
            return [Trouble("stream_down", what, min(down))]
        if of_class.live_since_s is None or key[0] == UNKNOWN:
            return []
        ages = [stream.last_data_age_s for stream in streams if stream.last_data_age_s is not None]
        age_s = min([now_s - of_class.live_since_s, *ages])
        messages = sum(stream.messages for stream in streams)
        limit_s = self._limit_s(self._rhythm_of(*key), messages, now_s - of_class.live_since_s)
        since_s = of_class.silence(now_s - age_s, now_s, limit_s)
        if since_s is None:
            return []
        what = f"{name}: no data, or only snapshots, for {now_s - since_s:.0f} s; {len(streams)} connections"
        return [Trouble("stream_silent", what, since_s)]

    def _limit_s(self, rhythm: Rhythm, messages: int, live_s: float) -> float:
        """Return after which silence a class is silent."""
        if rhythm == "steady":
            return self._silence_s
        if rhythm == "any" or not messages:
            return math.inf
        return max(self._silence_s, USUAL_GAPS * live_s / messages)


def _class_of(stream: StreamStatus) -> tuple[str, str]:
    return stream.market or UNKNOWN, stream.kind or stream.name


def _is_live(stream: StreamStatus) -> bool:
    """Whether a stream works; a function of the user's is not seen to connect."""
    return stream.is_live or (stream.market is None and stream.state == "running")
