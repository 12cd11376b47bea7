"""The life of a stream, for any exchange: list entry, plan, supervised thread, connection, frames read in bulk.

Depends on no exchange: app/ gives the StreamService a STREAMS list and a function that makes feeds.
"""

from model.context import StreamContext, current
from streams.budget import ConnectBudget, DescriptorBudget
from streams.dialer import Dialer
from streams.feed import FeedOptions, MarketFeed
from streams.handover import HandoverTimes
from streams.plan import DesiredStream
from streams.plan_table import Connects
from streams.reader import Reader
from streams.registry import StreamRequest, Target, request_of
from streams.service import NamedEvents, StreamOptions, StreamService, check_entries
from streams.supervisor import Supervisor

__all__ = [
    "ConnectBudget",
    "Connects",
    "DescriptorBudget",
    "DesiredStream",
    "Dialer",
    "FeedOptions",
    "HandoverTimes",
    "MarketFeed",
    "NamedEvents",
    "Reader",
    "StreamContext",
    "StreamOptions",
    "StreamRequest",
    "StreamService",
    "Supervisor",
    "Target",
    "check_entries",
    "current",
    "request_of",
]
