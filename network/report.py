"""The network settings of the environment, for one line of the log."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from network.certificates import client_context, describe_certificates
from network.proxies import proxy_of


def describe_network(urls: Iterable[str]) -> dict[str, Any]:
    """The proxy to each host of `urls` (None: direct), and the trusted certificates; without passwords.

    Raises ValueError with a line for everything in the environment that cannot be used.
    """
    problems: list[str] = []
    proxies: dict[str, str | None] = {}
    try:
        client_context()
    except ValueError as error:
        problems.append(str(error))
    for url in urls:
        try:
            proxy = proxy_of(url)
        except ValueError as error:
            problems.append(str(error))
        else:
            proxies[urlsplit(url).netloc.rpartition("@")[2]] = str(proxy) if proxy else None
    if problems:
        raise ValueError("\n".join(dict.fromkeys(problems)))
    return {"proxies": proxies, "certificates": describe_certificates()}
