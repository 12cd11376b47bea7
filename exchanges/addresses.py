"""Addresses of an exchange, with the user's host in the place of its own. Pure."""

from urllib.parse import urlsplit, urlunsplit


def moved(url: str, to: str | None) -> str:
    """Return `url` with scheme, host and port of `to`; path and query stay. None: as it is."""
    if to is None:
        return url
    target = urlsplit(to)
    return urlunsplit(urlsplit(url)._replace(scheme=target.scheme, netloc=target.netloc))
