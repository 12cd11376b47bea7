"""KuCoin's names: channels of both markets, intervals of candles. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from ..truth import DAY_MS, MINUTE_MS, WEEK_MS, Interval

HOUR_MS = 60 * MINUTE_MS
INTERVALS: Mapping[str, Interval] = MappingProxyType(
    {
        **{f"{minutes}min": minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30)},
        **{f"{hours}hour": hours * HOUR_MS for hours in (1, 2, 4, 6, 8, 12)},
        "1day": DAY_MS,
        "1week": WEEK_MS,
        "1month": "M",
    }
)
"""Those of the sockets, and of spot's REST; the sockets have no month."""

GRANULARITIES = (1, 5, 15, 30, 60, 120, 240, 480, 720, 1440, 10080)
"""Minutes, of REST of futures: no 360."""

FUTURES = ("linear", "inverse")
CHANGES = "changes"  # the detail of a book that sends changes


class Channel(NamedTuple):
    """What a channel carries: of which categories, the engine's kind, the depth of a book."""

    categories: tuple[str, ...]
    kind: str
    detail: str = ""


def _of(categories: tuple[str, ...], head: str, kinds: Mapping[str, tuple[str, str]]) -> dict[str, Channel]:
    return {head + name: Channel(categories, kind, detail) for name, (kind, detail) in kinds.items()}


_DEPTHS = {"level2Depth5": ("orderbook", "5"), "level2Depth50": ("orderbook", "50")}
CHANNELS: Mapping[str, Channel] = MappingProxyType(
    {
        **_of(
            ("spot",),
            "/market/",
            {
                "match": ("trades", ""),
                "level2": ("orderbook", CHANGES),
                "ticker": ("ticker", ""),
                "snapshot": ("ticker", ""),
                "candles": ("kline", ""),
            },
        ),
        **_of(("spot",), "/spotMarket/", {"level1": ("orderbook", "1"), **_DEPTHS}),
        **_of(
            FUTURES,
            "/contractMarket/",
            {
                "execution": ("trades", ""),
                "level2": ("orderbook", CHANGES),
                **_DEPTHS,
                "ticker": ("ticker", ""),
                "tickerV2": ("ticker", ""),
                "snapshot": ("ticker", ""),
                "limitCandle": ("kline", ""),
            },
        ),
        **_of(FUTURES, "/contract/", {"instrument": ("ticker", "")}),
    }
)
"""All others are answered with 404: those that might have liquidations, too."""
