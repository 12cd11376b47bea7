"""The API client of Bybit V5: typed, rate limited, safe to repeat. `from exchanges.bybit import BybitClient`.

README.md has every call. Importing the package imports nothing else: the collector's REST uses a part of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exchanges.bybit.client.clients import AsyncBybitClient, BybitClient
    from exchanges.bybit.client.connection import ConnectionManager
    from exchanges.bybit.client.decorators import rate_limited, with_error_handling
    from exchanges.bybit.client.errors import BybitError
    from exchanges.bybit.client.service import ApiClient

_MODULES = {
    "ApiClient": "service",
    "AsyncBybitClient": "clients",
    "BybitClient": "clients",
    "BybitError": "errors",
    "ConnectionManager": "connection",
    "rate_limited": "decorators",
    "with_error_handling": "decorators",
}

__all__ = [
    "ApiClient",
    "AsyncBybitClient",
    "BybitClient",
    "BybitError",
    "ConnectionManager",
    "rate_limited",
    "with_error_handling",
]


def __getattr__(name: str) -> Any:
    """A name of the package, imported when it is first used."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
