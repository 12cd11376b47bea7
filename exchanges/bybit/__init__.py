"""Bybit V5. Imports nothing by itself: the feed, the API client and the simulator are each used without the others."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchanges.bybit.client import AsyncBybitClient, BybitClient, ConnectionManager

__all__ = ["AsyncBybitClient", "BybitClient", "ConnectionManager"]


def __getattr__(name: str) -> Any:
    """The client's classes, imported at their first use."""
    if name in __all__:
        return getattr(importlib.import_module("exchanges.bybit.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
