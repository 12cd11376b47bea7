"""One function that hands payloads to several: raw publisher, recorder, server, envelopes.

Built once per callback, called on stream threads. Where there is one taker it is that taker itself.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from app.pipeline import Hand


def together(functions: Iterable[Hand | None]) -> Hand | None:
    """Join what may be called with payloads, in order; None where nothing is left after leaving out None.

    None of them may block or raise: what raises keeps the payloads from those after it.
    """
    takers = tuple(function for function in functions if function is not None)
    if len(takers) <= 1:
        return takers[0] if takers else None

    def all_of_them(payloads: Sequence[bytes]) -> None:
        for take in takers:
            take(payloads)

    return all_of_them


def each(take: Callable[[bytes], Any]) -> Hand:
    """Make a taker of one payload a taker of many."""

    def take_all(payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            take(payload)

    return take_all
