"""Where the exchange is and who is asking: addresses, keys, timeouts. Frozen; opens nothing.

Never shows a key: not in its repr, not in an error. Addresses are those of the docs' guide and ws/connect pages.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from exchanges.bybit.client.names import Param, body_values, camel_names, query_values
from exchanges.bybit.client.pybit_http import HTTP_URL, Keys, payload_of

RECV_WINDOW_MS = 5_000  # Bybit's default: a request may be this much older than the exchange's clock
CONNECT_TIMEOUT_S = 3.05  # a little more than TCP's first retransmission
READ_TIMEOUT_S = 10.0  # between two pieces of an answer
POOL_SIZE = 64  # connections kept; more askers at once open and close their own

LimitMode = Literal["wait", "raise"]
PUBLIC_CATEGORIES = ("linear", "inverse", "spot", "option", "spread")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class ConnectionManager:
    """Addresses and keys of one client.

    `domain` and `tld` choose a region (`tld="kz"`, `domain="bytick"`); `url` and `ws_url` (scheme, host, port) replace
    the exchange's addresses. With `rsa_authentication` the secret is the private key as PEM text. `proxies` as requests
    takes them; streams use the environment's proxies.
    """

    testnet: bool = False
    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    recv_window: int = RECV_WINDOW_MS
    demo: bool = False
    rsa_authentication: bool = False
    domain: str = "bybit"
    tld: str = "com"
    url: str | None = None
    ws_url: str | None = None
    timeout: tuple[float, float] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    proxies: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    pool_size: int = POOL_SIZE
    uid: str | None = None
    now_ms: Callable[[], int] = field(default=_wall_ms, repr=False)

    @property
    def keys(self) -> Keys:
        """What signs."""
        return Keys(self.api_key, self.api_secret, self.rsa_authentication)

    @property
    def base_url(self) -> str:
        """Such as https://api.bybit.com"""
        if self.url:
            return self.url.rstrip("/")
        prefix = "api-demo" if self.demo else "api"
        return str(HTTP_URL.format(SUBDOMAIN=prefix + self._network, DOMAIN=self.domain, TLD=self.tld))

    @property
    def is_bybit(self) -> bool:
        """Whether requests count at Bybit, or at somebody who only looks like it."""
        return self.url is None or (urlsplit(self.url).hostname or "").partition(".")[2].startswith(("bybit", "bytick"))

    def public_url(self, category: str) -> str:
        """The public stream of a category; demo accounts see the real market."""
        return f"{self._ws_base(is_demo=False)}/v5/public/{category}"

    @property
    def private_url(self) -> str:
        """Orders, executions, positions, wallet."""
        return f"{self._ws_base(is_demo=self.demo)}/v5/private"

    @property
    def trade_url(self) -> str:
        """Order entry; Bybit has none for demo accounts."""
        return f"{self._ws_base(is_demo=self.demo)}/v5/trade"

    def get_signature(self, params: Mapping[str, Param], method: str = "GET", timestamp: int | None = None) -> str:
        """Bybit's signature of `params`, as of `timestamp` (ms; now, by this machine's clock, where none is given)."""
        values = (query_values if method == "GET" else body_values)(camel_names(params))
        time_ms = self.now_ms() if timestamp is None else timestamp
        return self.keys.sign(f"{time_ms}{self.api_key}{self.recv_window}{payload_of(method, values)}")

    def _ws_base(self, *, is_demo: bool) -> str:
        if self.ws_url:
            return self.ws_url.rstrip("/")
        prefix = "stream-demo" if is_demo else "stream"
        return f"wss://{prefix}{self._network}.{self.domain}.{self.tld}"

    @property
    def _network(self) -> str:
        return "-testnet" if self.testnet else ""
