"""What trades tell besides themselves: what time it is at the exchange.

Called on the aggregator thread, once per batch, never per message. Decodes nothing but the time of one message.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from model.ports import Observe, Report

Decode = Callable[[Sequence[bytes], Report], tuple[Any, ...]]
"""As exchanges.registry.Decode: symbols and match times (ms) come first, equally long, in stream order."""

SENT = re.compile(rb'"ts"\s*:\s*(\d{1,15})\b')  # when the exchange made the message: right where a match time is wrong


def hearing(decode: Decode, observe: Observe) -> Decode:
    """Return `decode`, whose newest message of each batch tells the clock a time that the exchange has passed.

    Its way to us only makes it older, so that the clock is never ahead by it; without REST it is what keeps a wrong
    host clock from closing candles early. A message without a time of its own has that of its last trade.
    """

    def decode_and_hear(payloads: Sequence[bytes], report: Report) -> tuple[Any, ...]:
        columns = decode(payloads, report)
        symbols, times_ms = columns[0], columns[1]
        if symbols:
            sent = SENT.search(payloads[-1])
            observe(int(sent[1]) if sent else times_ms[-1], symbols[-1])
        return columns

    return decode_and_hear
