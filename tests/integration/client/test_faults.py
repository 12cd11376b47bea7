"""Each fault ends in the right error or the right result, over real sockets."""

from typing import Any

import pytest

from exchanges.bybit import BybitClient
from exchanges.bybit.client import errors
from exchanges.bybit.client.calls import Request
from exchanges.bybit.client.errors import BybitError
from exchanges.bybit.client.transport import Transport
from exchanges.retries import ATTEMPTS
from exchanges.transport import Reply
from tests.integration.client.conftest import Make
from tests.support.simulator import SimulatorProcess

QUICK = (2.0, 0.3)


@pytest.mark.parametrize(
    "fault",
    [
        {"what": "rate_limited", "s": 0.3},
        {"what": "expired_request"},
        {"what": "http", "status": 500},
        {"what": "http", "status": 502, "body": "<html>bad gateway</html>"},
        {"what": "http", "status": 429},
        {"what": "ret_code", "code": 10016, "msg": "restarting"},
        {"what": "html"},
        {"what": "hang"},
        {"what": "reset"},
        {"what": "reset_after"},
        {"what": "truncate"},
    ],
    ids=str,
)
def test_a_read_survives(calm: SimulatorProcess, make: Make, fault: dict[str, Any]) -> None:
    """The answer after the fault is the result."""
    client = make(timeout=QUICK)
    client.account.get_account_info()
    calm.command("rest_fault", path="/v5/account/wallet-balance", count=1, **fault)
    assert client.account.get_wallet_balance().model.account_type == "UNIFIED"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"what": "rate_limited", "s": 0.1}, errors.RateLimitError),
        ({"what": "expired_request"}, errors.RequestExpiredError),
        ({"what": "http", "status": 500}, errors.ServerError),
        ({"what": "http", "status": 403}, errors.BannedError),
        ({"what": "http", "status": 404}, errors.RequestError),
        ({"what": "html"}, errors.BadAnswerError),
        ({"what": "truncate"}, (errors.BadAnswerError, errors.NetworkError)),
        ({"what": "hang"}, errors.NetworkError),
        ({"what": "reset"}, errors.NetworkError),
        ({"what": "ret_code", "code": 10005, "msg": "denied"}, errors.PermissionDeniedError),
    ],
    ids=str,
)
def test_a_fault_that_stays_is_the_right_error(
    calm: SimulatorProcess, make: Make, fault: dict[str, Any], kind: type[BybitError]
) -> None:
    """With endpoint, parameters, and without key or signature anywhere."""
    client = make(timeout=QUICK, limits="raise")
    client.account.get_account_info()
    calm.command("rest_fault", path="/v5/account/wallet-balance", count=None, **fault)
    with pytest.raises(kind) as caught:
        client.account.get_wallet_balance()
    assert caught.value.endpoint == "GET /v5/account/wallet-balance"
    assert caught.value.params == {"accountType": "UNIFIED"}
    assert client.connection.api_key not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


def test_a_clock_that_is_wrong_costs_nothing(calm: SimulatorProcess, make: Make) -> None:
    """The exchange's clock and ours differ by a minute, and then it is set while we run."""
    client = make()
    calm.command("clock", shift_ms=-60_000)
    assert client.account.get_wallet_balance()["list"]
    assert -62_000 < client.api.time.offset_ms < -58_000
    calm.command("clock", shift_ms=45_000)
    assert client.account.get_wallet_balance()["list"]
    assert 43_000 < client.api.time.offset_ms < 47_000


def test_a_cursor_loop_is_an_error(calm: SimulatorProcess, client: Any) -> None:
    """Not an endless iteration."""
    for _ in range(3):
        client.order.place_order(symbol="BTCUSDT", side="Buy", order_type="Limit", qty="0.001", price="30000")
    calm.command("rest_fault", what="cursor_loop", path="/v5/order/realtime", count=None)
    with pytest.raises(errors.CursorLoopError):
        list(client.order.iter_active_orders(symbol="BTCUSDT"))


def test_empty_pages_lose_nothing(calm: SimulatorProcess, client: Any) -> None:
    """A page without rows and with a cursor is followed."""
    for _ in range(3):
        client.order.place_order(symbol="BTCUSDT", side="Buy", order_type="Limit", qty="0.001", price="30000")
    calm.command("rest_fault", what="empty_page", path="/v5/order/realtime", count=1)
    assert len(list(client.order.iter_active_orders(symbol="BTCUSDT"))) == 3


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"api_key": "nobody"}, errors.AuthError),
        ({"api_secret": "wrong"}, errors.AuthError),
        ({"api_key": "", "api_secret": ""}, errors.AuthError),
    ],
    ids=["key", "secret", "none"],
)
def test_a_bad_key_is_an_auth_error(make: Make, options: dict[str, str], kind: type[BybitError]) -> None:
    """And verify_credentials returns False."""
    client = make(**options)
    with pytest.raises(kind):
        client.account.get_wallet_balance()
    assert client.verify_credentials() is False


def test_rsa_keys_are_accepted(sim: SimulatorProcess, make: Make) -> None:
    """The exchange has the public half."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    sim.command("key", key="rsakey", rsa_public_key=public.decode(), uid=300_001, permission="trade")
    assert make(api_key="rsakey", api_secret=pem.decode(), rsa_authentication=True).verify_credentials()


def test_a_dead_exchange_is_a_network_error(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens: raised after the repeats, and safe to try again, an order too."""
    replies: list[Reply] = []
    send = Transport.send

    def recorded(transport: Transport, request: Request) -> Reply:
        replies.append(send(transport, request))
        return replies[-1]

    monkeypatch.setattr(Transport, "send", recorded)
    with (
        BybitClient(url=f"http://127.0.0.1:{free_port}") as dead,
        pytest.raises(errors.NetworkError) as caught,
    ):
        dead.market.get_tickers(symbol="BTCUSDT")
    assert caught.value.is_retry_safe
    assert len(replies) == ATTEMPTS


def test_orders_are_refused_in_words(client: Any) -> None:
    """Too dear, unknown, nonsense."""
    with pytest.raises(errors.OrderRejectedError):
        client.order.place_order(symbol="BTCUSDT", side="Buy", order_type="Limit", qty="450", price="66000")
    with pytest.raises(errors.OrderNotFoundError):
        client.order.cancel_order(symbol="BTCUSDT", order_id="nothing")
    with pytest.raises(errors.RequestError):
        client.market.get_tickers(category="nonsense")
