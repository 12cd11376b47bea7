"""Addresses and keys."""

import asyncio
import hashlib
import hmac
from typing import Any

import pytest

from exchanges.bybit import AsyncBybitClient, BybitClient
from exchanges.bybit.client.connection import ConnectionManager
from exchanges.bybit.client.errors import RequestError

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
        (
            {"url": "https://api-testnet.bybit.com/"},
            "https://api-testnet.bybit.com",
            "wss://stream-testnet.bybit.com",
            "wss://stream-testnet.bybit.com",
        ),
        (
            {"url": "https://api-demo.bybit.com"},
            "https://api-demo.bybit.com",
            "wss://stream.bybit.com",
            "wss://stream-demo.bybit.com",
        ),
        ({"url": "https://api.bybit.kz/v5"}, "https://api.bybit.kz", "wss://stream.bybit.kz", "wss://stream.bybit.kz"),
        (
            {"ws_url": "wss://stream-testnet.bybit.com/v5/public/linear"},
            "https://api-testnet.bybit.com",
            "wss://stream-testnet.bybit.com",
            "wss://stream-testnet.bybit.com",
        ),
        ({"testnet": True, "url": "http://h", "ws_url": "ws://h"}, "http://h", "ws://h", "ws://h"),
    ],
)
def test_addresses_are_the_documented_ones(options: dict[str, object], rest: str, public: str, private: str) -> None:
    """docs: guide and ws/connect; demo accounts see the real market."""
    connection = ConnectionManager(**options)  # type: ignore[arg-type]
    assert connection.base_url == rest
    assert connection.public_url("linear") == f"{public}/v5/public/linear"
    assert (connection.private_url, connection.trade_url) == (f"{private}/v5/private", f"{private}/v5/trade")


def test_another_hosts_address_never_leads_to_bybit() -> None:
    """REST alone streams nowhere, streams alone ask nowhere: orders of a test must not reach the real exchange."""
    rest, streams = ConnectionManager(url="http://user:secret@h:1"), ConnectionManager(ws_url="ws://h:2")
    for wanted in (lambda: rest.public_url("linear"), lambda: rest.private_url, lambda: rest.trade_url):
        with pytest.raises(RequestError, match="ws_url is not given") as caught:
            wanted()
        assert "secret" not in str(caught.value)
    with pytest.raises(RequestError, match="url is not given"):
        _ = streams.base_url
    assert (rest.has_streams, streams.has_streams) == (False, True)


@pytest.mark.parametrize("options", [{"url": "http://127.0.0.1:1"}, {"ws_url": "ws://127.0.0.1:1"}], ids=str)
def test_the_other_side_is_refused_where_it_is_wanted(options: Any) -> None:
    """Both clients can be made, and raise at the first call."""
    with BybitClient(api_key="k", api_secret="s", **options) as client:
        assert next(iter(options.values())) in repr(client)
        calls: list[Any] = [client.market.get_tickers, client.account.get_wallet_balance, client.sync_time]
        if "url" in options:
            calls = [
                lambda: client.websocket.subscribe_to_ticker("A", print),
                lambda: client.data.start_ticker_stream("A"),
            ]
            calls += [lambda: client.websocket.subscribe_private("order", print)] * 2
        for call in calls:
            with pytest.raises(RequestError, match="is not given"):
                call()

    async def asked() -> None:
        async with AsyncBybitClient(**options) as client:
            with pytest.raises(RequestError, match="is not given"):
                await client.market.get_tickers() if "ws_url" in options else client.websocket.subscribe_to_ticker(
                    "A", print
                )

    asyncio.run(asked())


@pytest.mark.parametrize(
    "options",
    [
        {"testnet": True, "url": "https://api.bybit.com"}, {"testnet": True, "ws_url": "wss://stream.bybit.com"},
        {"demo": True, "url": "https://api.bybit.com"}, {"demo": True, "url": "https://api-testnet.bybit.com"},
        {"url": ""}, {"url": "127.0.0.1:8080"}, {"url": "wss://stream.bybit.com"}, {"ws_url": "https://api.bybit.com"},
        {"api_key": "key\n"}, {"api_key": "ключ"},
        {"url": "http://"}, {"url": "http://h:port"}, {"ws_url": float("nan")}, {"url": b"http://h"},
    ],
    ids=str,
)  # fmt: skip
def test_addresses_that_are_none_or_of_another_network_are_refused(options: Any) -> None:
    """When the client is made."""
    with pytest.raises(RequestError, match=r"url|api_key") as caught:
        ConnectionManager(**options)
    assert "ключ" not in str(caught.value)


def test_no_key_is_shown() -> None:
    """Nor a proxy's password."""
    assert not [word for word in ("thekey", "thesecret", "pass") if word in repr(HIDDEN) + str(HIDDEN.keys)]


def test_the_signature_is_that_of_a_request() -> None:
    """As the developer guide calls it."""
    expected = hmac.new(b"thesecret", b"1thekey5000category=linear&symbol=A", hashlib.sha256).hexdigest()
    assert HIDDEN.get_signature({"symbol": "A", "category": "linear"}, timestamp=1) == expected


@pytest.mark.parametrize(
    ("url", "is_bybit"),
    [(None, True), ("https://api.bybit.kz", True), ("https://api2.bytick.com", True), ("http://127.0.0.1:8", False)],
)
def test_only_bybits_hosts_count_at_bybit(url: str | None, is_bybit: bool) -> None:
    """The limit per address is over all of them, and over no other host."""
    assert ConnectionManager(url=url).is_bybit is is_bybit
