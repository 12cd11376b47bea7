"""The proxy to a URL, for streams and REST alike, from the variables that curl and requests read.

HTTPS_PROXY is for https:// and wss://, HTTP_PROXY for http:// and ws://, ALL_PROXY for what neither names, NO_PROXY for
what is reached without one; in small letters they count first. Read at each connect: a change counts for the next
connection. A password is never part of a text made here.
"""

import base64
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from network.addresses import is_address

SCHEMES = {"http": 80, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
"""The protocols of a proxy, and their default ports. socks4a and socks5h: the proxy resolves names."""
ALIASES = {"socks": "socks5h"}  # what desktops write, and browsers take so
HTTP_OF = {"ws": "http", "wss": "https"}
PORTS = {"https": 443, "http": 80}


class ProxyAddressError(ValueError):
    """A variable names a proxy that cannot be used; the message has the variable and what is allowed."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address; `url` has user and password in it and must not be shown."""

    scheme: str
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    url: str = field(default="", repr=False)

    def __str__(self) -> str:
        """For a log line."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization, UTF-8 as curl writes it; None: without a login."""
        if not (self.user or self.password):
            return None
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def is_socks(self) -> bool:
        """Whether the proxy speaks SOCKS, not HTTP."""
        return self.scheme.startswith("socks")

    @property
    def looks_names_up(self) -> bool:
        """Whether the proxy is given names, not addresses."""
        return self.scheme in ("http", "socks4a", "socks5h")


def proxy_of(url: str, given: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy to `url` (http, https, ws, wss), None: straight. Raises ProxyAddressError.

    `given` are a program's own, as requests takes them ({"https": ...}); they win over the environment's.
    """
    parts = urlsplit(url)
    scheme = HTTP_OF.get(parts.scheme, parts.scheme)
    host, own = parts.hostname or "", given or {}
    for key in (f"{scheme}://{host}", scheme, f"all://{host}", "all"):
        if key in own:
            return parse_proxy(own[key], f"proxies[{key!r}]") if own[key] else None
    found = getproxies()
    text = found.get(scheme) or found.get("all") or ""
    excluded = own.get("no_proxy", found.get("no", ""))
    if not text.strip() or is_excluded(host, parts.port or PORTS.get(scheme, 80), excluded) or proxy_bypass(host):
        return None
    return parse_proxy(text, _variable_of(text, scheme))


def parse_proxy(text: str, name: str) -> Proxy:
    """The proxy of an address; raises ProxyAddressError with `name`."""
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise ProxyAddressError(
            f"{name} is no address of a proxy, such as http://user:password@host:3128"
            " (in a password, / is %2F, @ is %40, # is %23, % is %25)"
        )
    scheme = ALIASES.get(parts.scheme, parts.scheme)
    if scheme not in SCHEMES:
        raise ProxyAddressError(f"{name} is {scheme}://..., must begin with {', '.join(f'{s}://' for s in SCHEMES)}")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    url = f"{scheme}://{text.partition('://')[2]}"
    return Proxy(scheme, host, port or SCHEMES[scheme], user, password, url)


def is_excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether a NO_PROXY list contains `host`: by name, suffix, address, network or `*`, with a port or without."""
    host = host.lower().rstrip(".")
    for entry in no_proxy.lower().replace(",", " ").split():
        if entry == "*" or _is_network_of(host, entry):
            return True
        name, _, number = entry.rpartition(":")
        if name and number.isdecimal() and not is_address(entry):
            if int(number) != port:
                continue
            entry = name
        name = entry.strip("[]").removeprefix("*").strip(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _is_network_of(host: str, entry: str) -> bool:
    try:
        return "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _variable_of(text: str, scheme: str) -> str:
    names = [name for kind in (scheme, "all") for name in (f"{kind}_proxy", f"{kind}_proxy".upper())]
    return next((name for name in names if os.environ.get(name) == text), f"the system's {scheme} proxy")
