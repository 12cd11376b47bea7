"""What trades tell besides themselves: what time it is at the exchange, and which symbols have traded up to when.

Called on the aggregator thread, once per batch, never per message; read by any thread. Decodes nothing.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from exchanges.contract import Report

Decode = Callable[[Sequence[bytes], Report], tuple[Any, ...]]
"""As exchanges.venues.Decode: symbols and match times (ms) come first, equally long, in stream order."""

Observe = Callable[[int, int], object]
"""As exchanges.clock.ExchangeClock.observe: exchange time and host time, ms."""

NEAR_MS = 10_000  # a trade further from the host's clock is replayed or was held up: it does not say what time it is


def hearing(
    decode: Decode, observe: Observe, *, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> Decode:
    """Return `decode`, whose newest trade of each batch tells the clock a time that the exchange has passed.

    Its way to us only makes it older, so that the clock is never ahead by it; without REST it is what keeps a wrong
    host clock from closing candles early.
    """

    def decode_and_hear(payloads: Sequence[bytes], report: Report) -> tuple[Any, ...]:
        columns = decode(payloads, report)
        times_ms: Sequence[int] = columns[1]
        if times_ms:
            received_ms = wall_ms()
            if abs(times_ms[-1] - received_ms) <= NEAR_MS:
                observe(times_ms[-1], received_ms)
        return columns

    return decode_and_hear
