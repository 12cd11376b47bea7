"""IP addresses written as text. Pure."""

import ipaddress


def is_address(text: str) -> bool:
    """Return whether a text is an IP address, an IPv6 one with or without a zone, and no name."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine by its loopback address; of names only localhost is."""
    host = host.strip("[]")
    return host.lower() == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
