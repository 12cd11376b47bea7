"""Addresses of the exchange: from any spelling to the one that is used. Pure."""

import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

MARKETS = ("linear", "inverse", "spot")
PUBLIC = "/v5/public"
EXAMPLE = f"wss://stream.bybit.com{PUBLIC}/linear"
BYBIT_HOST = re.compile(r"(^|[.-])(bybit|bytick)[.-]")  # those of its countries too: bybit.eu, bybit-tr.com
STREAM_HOST = re.compile(r"stream(-testnet)?\.")


def public_endpoint(url: str) -> str:
    """Write a public WebSocket endpoint as the exchange does, its market last, or without one where none is written.

    An address that is not the exchange's own keeps a path of its own. ValueError for what is not collected.
    """
    parts = urlsplit(url)
    path = re.sub("/+", "/", parts.path).rstrip("/")
    path = re.sub(rf"{PUBLIC}(?=/|$)", PUBLIC, path, flags=re.IGNORECASE)
    head, _, last = path.rpartition("/")
    is_own = BYBIT_HOST.search(parts.hostname or "")
    if last.lower() in MARKETS:
        path = f"{head}/{last.lower()}"
    elif last.lower() == "option":
        raise ValueError("options are not collected, but linear, inverse and spot")
    elif re.fullmatch(r"/v5", path, re.IGNORECASE) or (is_own and not path):
        path = PUBLIC
    elif re.search(r"/v5/(private|trade)$", path, re.IGNORECASE) or (is_own and path != PUBLIC):
        raise ValueError(f"it is no public endpoint, as {EXAMPLE} is")
    elif not path.endswith(PUBLIC):
        path = parts.path  # a server of the user's own
    return urlunsplit(SplitResult(parts.scheme, parts.netloc, path, parts.query, ""))


def address_alone(url: str) -> str:
    """Write scheme, host and port alone; ValueError where more stands there: each address keeps a path of its own."""
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("the paths stay those of the exchange; write scheme, host and port alone")
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def market_of(endpoint: str) -> str | None:
    """The market that a `public_endpoint` names; None where its path names none."""
    last = urlsplit(endpoint).path.rpartition("/")[2]
    return last if last in MARKETS else None


def endpoint_of(endpoint: str, market: str) -> str:
    """The endpoint of a market, from that of another market or one that names none."""
    parts = urlsplit(endpoint)
    path = parts.path if parts.path.endswith(PUBLIC) else parts.path.rpartition("/")[0]
    return urlunsplit(parts._replace(path=f"{path}/{market}"))


def rest_address(url: str) -> str:
    """Write a REST address as requests continue it: without /v5 and slashes; ValueError where more follows."""
    parts = urlsplit(url)
    path = re.sub(r"/+(v5/*)?$", "", parts.path, flags=re.IGNORECASE)
    if parts.query or parts.fragment or re.search("/v5/", path, re.IGNORECASE):
        raise ValueError("/v5/... is added to it; write it without, as in https://api.bybit.com")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def rest_beside(endpoint: str) -> str | None:
    """The REST address beside a public endpoint of Bybit; None for the endpoint of a server of the user's own."""
    parts = urlsplit(endpoint)
    if parts.scheme != "wss" or parts.port not in (None, 443) or not BYBIT_HOST.search(parts.hostname or ""):
        return None
    host, count = STREAM_HOST.subn(r"api\1.", parts.hostname or "", count=1)
    return f"https://{host}" if count else None
