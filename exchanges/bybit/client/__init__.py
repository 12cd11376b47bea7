"""The API client of Bybit V5: typed, rate limited, safe to repeat. `from exchanges.bybit import BybitClient`.

README.md has every call.
"""

from exchanges.bybit.client.api_client import ApiClient
from exchanges.bybit.client.client import AsyncBybitClient, BybitClient
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.decorators import rate_limited, with_error_handling
from exchanges.bybit.client.errors import BybitError

__all__ = [
    "ApiClient",
    "AsyncBybitClient",
    "BybitClient",
    "BybitError",
    "ConnectionManager",
    "rate_limited",
    "with_error_handling",
]
