"""One function that hands a payload to several: raw publisher, recorder, server, envelopes.

Built once per callback, called on stream threads. Where there is one taker it is that taker itself.
"""

from collections.abc import Iterable

from callbacks.payload import Hand


def together(functions: Iterable[Hand | None]) -> Hand | None:
    """Join what may be called with a payload, in order; None where nothing is left after leaving out None.

    None of them may block or raise: what raises keeps the payload from those after it.
    """
    takers = tuple(function for function in functions if function is not None)
    if len(takers) <= 1:
        return takers[0] if takers else None
    if len(takers) == 2:
        return _both(*takers)

    def all_of_them(payload: bytes) -> None:
        for take in takers:
            take(payload)

    return all_of_them


def _both(first: Hand, second: Hand) -> Hand:
    def both(payload: bytes) -> None:
        first(payload)
        second(payload)

    return both
