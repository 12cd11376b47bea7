"""The API client of Bybit V5: typed, rate limited, safe to repeat. `from exchanges.bybit import BybitClient`.

README.md has every call.
"""

from exchanges.bybit.client.client import AsyncBybitClient, BybitClient
from exchanges.bybit.client.connection import ConnectionManager

__all__ = ["AsyncBybitClient", "BybitClient", "ConnectionManager"]
