"""Venue-neutral life of a stream: registry entry, supervised thread, backoff, bulk frame reading.

Knows no exchange. main.py hands `Dialer.open` to the exchange's feed and the STREAMS list to the Supervisor.
"""

from streams.budget import ConnectBudget
from streams.context import StreamContext, current
from streams.dialer import Dialer
from streams.plan import LiveSymbols, StreamPlan, Want, count_entries
from streams.reader import Reader
from streams.supervisor import StreamStatus, Supervisor

__all__ = [
    "ConnectBudget",
    "Dialer",
    "LiveSymbols",
    "Reader",
    "StreamContext",
    "StreamPlan",
    "StreamStatus",
    "Supervisor",
    "Want",
    "count_entries",
    "current",
]
