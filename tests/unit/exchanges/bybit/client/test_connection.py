"""Addresses and keys."""

import hashlib
import hmac

import pytest

from exchanges.bybit.client.connection import ConnectionManager

HIDDEN = ConnectionManager(api_key="thekey", api_secret="thesecret", proxies={"https": "http://user:pass@proxy"})


@pytest.mark.parametrize(
    ("options", "rest", "public", "private"),
    [
        ({}, "https://api.bybit.com", "wss://stream.bybit.com", "wss://stream.bybit.com"),
        (
            {"testnet": True},
            "https://api-testnet.bybit.com",
            "wss://stream-testnet.bybit.com",
            "wss://stream-testnet.bybit.com",
        ),
        ({"demo": True}, "https://api-demo.bybit.com", "wss://stream.bybit.com", "wss://stream-demo.bybit.com"),
        ({"tld": "kz"}, "https://api.bybit.kz", "wss://stream.bybit.kz", "wss://stream.bybit.kz"),
        ({"domain": "bytick"}, "https://api.bytick.com", "wss://stream.bytick.com", "wss://stream.bytick.com"),
        ({"url": "http://h:1/", "ws_url": "ws://h:2/"}, "http://h:1", "ws://h:2", "ws://h:2"),
    ],
)
def test_addresses_are_the_documented_ones(options: dict[str, object], rest: str, public: str, private: str) -> None:
    """docs: guide and ws/connect; demo accounts see the real market."""
    connection = ConnectionManager(**options)  # type: ignore[arg-type]
    assert connection.base_url == rest
    assert connection.public_url("linear") == f"{public}/v5/public/linear"
    assert (connection.private_url, connection.trade_url) == (f"{private}/v5/private", f"{private}/v5/trade")


def test_no_key_is_shown() -> None:
    """Nor a proxy's password."""
    assert not [word for word in ("thekey", "thesecret", "pass") if word in repr(HIDDEN) + str(HIDDEN.keys)]


def test_the_signature_is_that_of_a_request() -> None:
    """As the developer guide calls it."""
    expected = hmac.new(b"thesecret", b"1thekey5000category=linear&symbol=A", hashlib.sha256).hexdigest()
    assert HIDDEN.get_signature({"symbol": "A", "category": "linear"}, timestamp=1) == expected


@pytest.mark.parametrize(
    ("url", "is_bybit"), [(None, True), ("https://api.bybit.kz", True), ("http://127.0.0.1:8", False)]
)
def test_only_bybits_hosts_count_at_bybit(url: str | None, is_bybit: bool) -> None:
    """The limit per address is over all of them, and over nobody else's."""
    assert ConnectionManager(url=url).is_bybit is is_bybit
