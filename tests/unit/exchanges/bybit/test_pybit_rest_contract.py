"""What exchanges/bybit/rest.py leans on inside pybit's HTTP client: an upgrade that changes it fails here."""

import inspect
from typing import Any

import pybit
import pytest
import requests
from pybit import _http_manager
from pybit.exceptions import FailedRequestError, InvalidRequestError

from exchanges.bybit.rest import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, BybitRest
from tests.unit.exchanges.bybit.rest_stub import Reply, Stub, enveloped, in_turn


def stubbed(*replies: Reply | Exception, url: str | None = None, testnet: bool = False) -> tuple[BybitRest, Stub]:
    rest, stub = BybitRest(url, testnet), Stub(in_turn(*replies))
    for scheme in ("https://", "http://"):
        rest.http.client.mount(scheme, stub)
    return rest, stub


def test_the_version_is_the_one_that_was_read() -> None:
    """After an upgrade: read _http_manager.py and _v5_market.py again, then change this line."""
    assert pybit.VERSION == "5.17.0"


@pytest.mark.parametrize(
    ("url", "testnet", "base"),
    [
        (None, False, "https://api.bybit.com"),
        (None, True, "https://api-testnet.bybit.com"),
        ("http://127.0.0.1:8080/", False, "http://127.0.0.1:8080"),
    ],
)
def test_paths_are_the_documented_ones(url: str | None, testnet: bool, base: str) -> None:
    """`endpoint` is what pybit puts before every path; requests go with our timeouts."""
    rest, stub = stubbed(enveloped({"a": 1}), url=url, testnet=testnet)
    assert rest.server_time() == {"a": 1}
    rest.kline(symbol="A", start=1)
    rest.recent_trade(symbol="A")
    assert stub.asked == [
        (f"{base}/v5/market/time", {}),
        (f"{base}/v5/market/kline", {"symbol": "A", "start": "1"}),
        (f"{base}/v5/market/recent-trade", {"symbol": "A"}),
    ]
    assert stub.timeouts == [(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)] * 3


@pytest.mark.parametrize("code", [10002, 10006, 30034, 30035, 130035, 130150, 10016])
def test_pybit_does_not_retry_codes(code: int) -> None:
    """By default it sleeps for as long as the exchange says; `retry_codes` emptied, each is raised with its headers."""
    rest, stub = stubbed(enveloped({}, code, "no", **{"X-Bapi-Limit-Reset-Timestamp": "5"}))
    with pytest.raises(InvalidRequestError) as caught:
        rest.http.get_server_time()
    assert (caught.value.status_code, caught.value.message) == (code, "no")
    assert caught.value.resp_headers["x-bapi-limit-reset-timestamp"] == "5"
    assert len(stub.asked) == 1


@pytest.mark.parametrize(
    ("reply", "expected", "status"),
    [
        ((403, "", {}), FailedRequestError, 403),
        ((500, "", {}), FailedRequestError, 500),
        ((200, "<html>", {}), FailedRequestError, 409),
        (requests.ReadTimeout(), requests.ReadTimeout, None),
        (requests.ConnectTimeout(), requests.ConnectTimeout, None),
        (requests.ConnectionError(), requests.ConnectionError, None),
    ],
)
def test_pybit_does_not_retry_failures(reply: Any, expected: type[Exception], status: int | None) -> None:
    """One attempt, and the kind of failure is told apart by type and status."""
    rest, stub = stubbed(reply)
    with pytest.raises(expected) as caught:
        rest.http.get_server_time()
    assert getattr(caught.value, "status_code", None) == status
    assert len(stub.asked) == 1


def test_building_it_opens_nothing() -> None:
    """pybit's constructor makes a requests.Session, and no request."""
    source = inspect.getsource(_http_manager._V5HTTPManager.__post_init__)
    assert "requests.Session()" in source
    assert not any(call in source for call in (".get(", ".send(", "_submit"))


def test_closing_it_is_harmless() -> None:
    """Twice, and before it was used."""
    rest, _ = stubbed(enveloped({}))
    rest.close()
    rest.close()
    rest.server_time()
