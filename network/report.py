"""What the environment says about the network, for one line of the log."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from network.certificates import client_context, describe_certificates
from network.proxies import proxy_of


def describe_network(urls: Iterable[str]) -> dict[str, Any]:
    """The proxy to each host of `urls`, None: straight, and the certificates trusted; no password is in it.

    Raises ValueError (ProxyAddressError, CertificatesError) where the environment names what cannot be used.
    """
    client_context()
    proxies = {urlsplit(url).netloc.rpartition("@")[2]: proxy_of(url) for url in urls}
    shown = {host: str(proxy) if proxy else None for host, proxy in proxies.items()}
    return {"proxies": shown, "certificates": describe_certificates()}
