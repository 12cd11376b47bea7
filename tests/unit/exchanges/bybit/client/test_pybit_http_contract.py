"""What the client leans on inside pybit's HTTP: an upgrade that changes it fails here."""

import base64
import hashlib
import hmac
import json

import pybit
import pybit._http_manager
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from exchanges.bybit.client.calls import Call, Keys
from exchanges.bybit.client.connection import HTTP_URL
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.pybit_http import ENDPOINTS, Catalogue, make_call, make_request, payload_of

CATALOGUE = Catalogue()
KEYS = Keys("XXXXXXXXXX", "hushhush")


def test_the_version_is_the_one_that_was_read() -> None:
    """After an upgrade: read _http_manager.py again, then change this line."""
    assert pybit.VERSION == "5.17.0"


@pytest.mark.parametrize(
    ("name", "endpoint", "is_signed"),
    [
        ("get_server_time", "GET /v5/market/time", False),
        ("get_kline", "GET /v5/market/kline", False),
        ("get_tickers", "GET /v5/market/tickers", False),
        ("get_public_trade_history", "GET /v5/market/recent-trade", False),
        ("get_wallet_balance", "GET /v5/account/wallet-balance", True),
        ("get_api_key_information", "GET /v5/user/query-api", True),
        ("get_open_orders", "GET /v5/order/realtime", True),
        ("get_executions", "GET /v5/execution/list", True),
        ("place_order", "POST /v5/order/create", True),
        ("set_leverage", "POST /v5/position/set-leverage", True),
    ],
)
def test_methods_return_what_they_would_send(name: str, endpoint: str, is_signed: bool) -> None:
    """Overridden `_submit_request` is where all of them end; nothing is sent."""
    call = CATALOGUE.call(name, {})
    assert (call.endpoint, call.is_signed) == (endpoint, is_signed)


def test_every_endpoint_becomes_a_call_or_a_request_error() -> None:
    """All of pybit's: none sends, none fails with something else."""
    assert len(ENDPOINTS) > 340
    for name in ENDPOINTS:
        try:
            assert CATALOGUE.call(name, {}).path.startswith("/v5/"), name
        except RequestError:
            continue  # an upload without its file, a retired endpoint


def test_the_addresses_are_pybits() -> None:
    """They are written here once more, so that a collector need not import pybit for them."""
    assert HTTP_URL == pybit._http_manager.HTTP_URL


def test_an_unknown_name_is_refused() -> None:
    """Private methods of pybit's are no endpoints."""
    with pytest.raises(RequestError, match="no endpoint '_auth'"):
        CATALOGUE.call("_auth", {})


def test_values_are_written_as_bybit_reads_them() -> None:
    """Names camelCase, no exponents, booleans of a query in small letters, None left out."""
    get = CATALOGUE.call(
        "get_open_orders", {"category": "linear", "order_link_id": None, "base_coin": "BTC", "x": True}
    )
    post = CATALOGUE.call("place_order", {"qty": 0.00001, "reduce_only": False, "positionIdx": 1, "price": None})
    assert dict(get.params) == {"category": "linear", "baseCoin": "BTC", "x": "true"}
    assert dict(post.params) == {"qty": "0.00001", "reduceOnly": False, "positionIdx": 1}


def test_the_signed_text_is_the_documented_one() -> None:
    """docs: guide, the known plain text; time + key + window + the query exactly as it is sent."""
    call = make_call("GET", "/v5/order/realtime", {"category": "option", "symbol": "BTC-29JUL22-25000-C"}, True)
    request = make_request(call, KEYS, 1658384314791, 5000)
    plain = "1658384314791XXXXXXXXXX5000category=option&symbol=BTC-29JUL22-25000-C"
    assert request.path_and_query == "/v5/order/realtime?category=option&symbol=BTC-29JUL22-25000-C"
    assert request.headers["X-BAPI-SIGN"] == hmac.new(b"hushhush", plain.encode(), hashlib.sha256).hexdigest()
    assert request.headers["X-BAPI-TIMESTAMP"] == "1658384314791"
    assert request.headers["X-BAPI-RECV-WINDOW"] == "5000"


def test_a_body_is_signed_as_it_is_sent() -> None:
    """The bytes of a POST and what was signed are the same."""
    request = make_request(make_call("POST", "/p", {"a": "1", "b": [{"c": 2}]}, True), KEYS, 1, 5000)
    plain = b"1XXXXXXXXXX5000" + request.body
    assert json.loads(request.body) == {"a": "1", "b": [{"c": 2}]}
    assert request.headers["X-BAPI-SIGN"] == hmac.new(b"hushhush", plain, hashlib.sha256).hexdigest()


def test_rsa_keys_sign_with_sha256_in_base64() -> None:
    """docs: guide, RSA."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    signature = base64.b64decode(Keys("k", pem, rsa=True).sign("text"))
    private.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())


def test_public_requests_carry_no_key() -> None:
    """A request without a signature carries no key."""
    request = make_request(make_call("GET", "/v5/market/time", {}, False), KEYS, 1, 5000)
    assert not [name for name in request.headers if name.startswith("X-BAPI")]


def test_a_cursor_goes_back_as_it_came() -> None:
    """Percent-encoded already: encoded once more, the exchange would refuse it."""
    cursor = "132766%3A2%2C132766%3A2"
    assert payload_of("GET", make_call("GET", "/p", {"cursor": cursor}, True).params) == f"cursor={cursor}"
    assert payload_of("GET", make_call("GET", "/p", {"cursor": "a&b=c d"}, True).params) == "cursor=a%26b=c%20d"


def test_an_upload_is_signed_as_bytes() -> None:
    """The only body that is no JSON."""
    call = CATALOGUE.call("upload_chat_file", {"upload_file": b"\x89PNG\xff", "filename": "a.png"})
    request = make_request(call, KEYS, 1, 5000)
    plain = b"1XXXXXXXXXX5000" + request.body
    assert b"\x89PNG\xff" in request.body
    assert request.headers["X-BAPI-SIGN"] == hmac.new(b"hushhush", plain, hashlib.sha256).hexdigest()


def test_no_repr_shows_a_key() -> None:
    """Of what holds one; pybit's own dataclass would."""
    call: Call = make_call("GET", "/p", {}, True)
    shown = repr(KEYS) + repr(make_request(call, KEYS, 1, 5000)) + repr(CATALOGUE)
    assert "hushhush" not in shown
    assert "XXXXXXXXXX" not in shown
