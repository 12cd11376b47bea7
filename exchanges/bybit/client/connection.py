"""Addresses, keys and timeouts of one client. Frozen; opens nothing.

Never shows a key: not in its repr, not in an error. Addresses are those of the docs' guide and ws/connect pages.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal
from urllib.parse import urlsplit

from exchanges.bybit.client.calls import Keys
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.names import Param, body_values, camel_names, query_values

HTTP_URL = "https://{SUBDOMAIN}.{DOMAIN}.{TLD}"  # pybit's own; test_pybit_http_contract.py holds them equal
RECV_WINDOW_MS = 5_000  # Bybit's default: a request may be this much older than the exchange's clock
CONNECT_TIMEOUT_S = 3.05  # a little more than TCP's first retransmission
READ_TIMEOUT_S = 10.0  # between two pieces of an answer
TIMEOUT = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
READS_MOST = 3  # read time-outs that a whole answer may take: a large one over a slow line has many pieces
POOL_SIZE = 64  # connections kept; more threads at once open and close their own

# docs: guide, ws/connect, and the addresses of registrations that have one of their own
_BYBIT_HOST = re.compile(
    r"(?:api|stream)(?P<demo>-demo)?(?P<testnet>-testnet)?\.(?P<domain>(?:bybit|bytick|bybitgeorgia|manepa)\.[a-z.]+)"
)
_BYBIT_DOMAIN = re.compile("bybit|bytick|manepa")
LimitMode = Literal["wait", "raise"]


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class ConnectionManager:
    """Addresses and keys of one client.

    `domain` and `tld` choose a region (`tld="kz"`, `domain="bytick"`); `url` and `ws_url` (scheme, host, port) replace
    the exchange's addresses. With `rsa_authentication` the secret is the private key as PEM text. `proxies` as requests
    takes them; they are for streams, too, and win over the environment's. Of Bybit's own addresses the one is derived
    from the other; with another host's alone, the other side raises RequestError when it is first used, and never goes
    to Bybit by default.
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
    timeout: tuple[float | None, float | None] | float | None = TIMEOUT
    proxies: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    pool_size: int = POOL_SIZE
    uid: str | None = None
    now_ms: Callable[[], int] = field(default=_wall_ms, repr=False)

    def __post_init__(self) -> None:
        """Raise RequestError for an address that is none, or is not of the network chosen."""
        if not all(" " < letter < "\x7f" for letter in self.api_key or ""):
            raise RequestError("api_key: it has a blank, a line's end or other letters than a key has")
        _check_address("url", self.url, ("http", "https"))
        _check_address("ws_url", self.ws_url, ("ws", "wss"))
        for name, url in (("url", self.url), ("ws_url", self.ws_url)):
            host = _bybit_host(url)
            if host is not None and self.testnet and not host["testnet"]:
                raise RequestError(f"testnet=True, but {name} {_shown(url)} is not of Bybit's test network")
            if host is not None and self.demo and not host["demo"] and name == "url":
                raise RequestError(f"demo=True, but {name} {_shown(url)} is not the address of Bybit's demo accounts")

    @property
    def keys(self) -> Keys:
        """The keys that sign."""
        return Keys(self.api_key, self.api_secret, self.rsa_authentication)

    @property
    def base_url(self) -> str:
        """Such as https://api.bybit.com; raises RequestError where only another host's streams are known."""
        if self.url:
            return _base_of(self.url)
        if self.ws_url:
            host = _bybit_host(self.ws_url)
            if host is None:
                raise RequestError(f"ws_url is {_shown(self.ws_url)}, url is not given: it is needed for REST")
            demo = "-demo" if self.demo or host["demo"] else ""
            return f"https://api{demo}{host['testnet'] or ''}.{host['domain']}"
        prefix = "api-demo" if self.demo else "api"
        return str(HTTP_URL.format(SUBDOMAIN=prefix + self._network, DOMAIN=self.domain, TLD=self.tld))

    @property
    def name(self) -> str:
        """The address that identifies this exchange: REST's, else the streams'."""
        is_unknown = self.url is None and self.ws_url is not None and _bybit_host(self.ws_url) is None
        return str(self.ws_url) if is_unknown else self.base_url

    @property
    def request_limit_s(self) -> float:
        """For a whole request, from the name to the last byte."""
        given = self.timeout if isinstance(self.timeout, tuple) else (self.timeout, self.timeout)  # as requests does
        connect_s, read_s = (usual if one is None else one for one, usual in zip(given, TIMEOUT, strict=True))
        return connect_s + READS_MOST * read_s

    @property
    def is_bybit(self) -> bool:
        """Whether requests count at Bybit, not at another server that speaks its protocol."""
        given = self.url or self.ws_url
        return given is None or _BYBIT_DOMAIN.match((urlsplit(given).hostname or "").partition(".")[2]) is not None

    @property
    def has_streams(self) -> bool:
        """Whether the address of the streams is known."""
        return bool(self.ws_url) or self.url is None or _bybit_host(self.url) is not None

    def public_url(self, category: str) -> str:
        """The public stream of a category; demo accounts see the real market."""
        return f"{self._ws_base(is_private=False)}/v5/public/{category}"

    @property
    def private_url(self) -> str:
        """Orders, executions, positions, wallet."""
        return f"{self._ws_base(is_private=True)}/v5/private"

    @property
    def trade_url(self) -> str:
        """Order entry; Bybit has none for demo accounts."""
        return f"{self._ws_base(is_private=True)}/v5/trade"

    def get_signature(self, params: Mapping[str, Param], method: str = "GET", timestamp: int | None = None) -> str:
        """Bybit's signature of `params`, as of `timestamp` (ms; now, by this machine's clock, where none is given)."""
        from exchanges.bybit.client.pybit_http import payload_of  # late, as pybit in calls.py

        values = (query_values if method == "GET" else body_values)(camel_names(params))
        time_ms = self.now_ms() if timestamp is None else timestamp
        return self.keys.sign(f"{time_ms}{self.api_key}{self.recv_window}{payload_of(method, values)}")

    def _ws_base(self, *, is_private: bool) -> str:
        if self.ws_url:
            return _base_of(self.ws_url)
        if self.url:
            host = _bybit_host(self.url)
            if host is None:
                raise RequestError(f"url is {_shown(self.url)}, ws_url is not given: it is needed for streams")
            demo = "-demo" if host["demo"] and is_private else ""
            return f"wss://stream{demo}{host['testnet'] or ''}.{host['domain']}"
        demo = "-demo" if self.demo and is_private else ""
        return f"wss://stream{demo}{self._network}.{self.domain}.{self.tld}"

    @property
    def _network(self) -> str:
        return "-testnet" if self.testnet else ""


def _bybit_host(url: str | None) -> re.Match[str] | None:
    """The parts of a host of Bybit's; None for any other host."""
    return _BYBIT_HOST.fullmatch((urlsplit(url).hostname or "").lower()) if url else None


def _base_of(url: str) -> str:
    """Without what the docs write behind a host: /v5/public/linear."""
    return re.sub(r"(/v5(/.*)?)?/*$", "", url)


def _shown(url: object) -> str:
    """Without a password."""
    return re.sub(r"//[^/@]*@", "//***@", str(url))


def _check_address(name: str, url: object, schemes: tuple[str, str]) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        is_good = parts is not None and parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is none
        is_good = False
    if not is_good:
        raise RequestError(f"{name} is {_shown(url)!r:.100}: {schemes[1]}://host or {schemes[0]}://host:port is needed")
