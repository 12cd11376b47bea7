"""Keys, canonical strings, signatures, clocks."""

import hashlib
import hmac
from typing import Any

import pytest
from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA
from Crypto.Signature import pkcs1_15

from exchanges.simulated.bybit.auth import ApiKey, AuthError, Keys, key_of_text
from exchanges.simulated.rest import Request

NOW_MS = 1_658_384_314_791


def signed(method: str, payload: str, secret: str = "simulatorsecret", **headers: Any) -> Request:
    """A request as the documentation signs it."""
    values = {"key": "simulatorkey", "timestamp": NOW_MS, "recv_window": "5000"} | headers
    text = f"{values['timestamp']}{values['key']}{values['recv_window']}{payload}"
    sign = headers.get("sign") or hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    sent = {
        "x-bapi-api-key": str(values["key"]),
        "x-bapi-timestamp": str(values["timestamp"]),
        "x-bapi-recv-window": str(values["recv_window"]),
        "x-bapi-sign": sign,
    }
    raw_query, raw_body = (payload, b"") if method == "GET" else ("", payload.encode())
    return Request(method, "/v5/order/create", {}, {}, "127.0.0.1", sent, raw_query, raw_body)


def refusal(request: Request, keys: Keys | None = None) -> int:
    """The code of the refusal."""
    with pytest.raises(AuthError) as refused:
        (keys or Keys()).check_request(request, NOW_MS)
    return refused.value.code


@pytest.mark.parametrize(
    ("method", "payload"),
    [
        ("GET", "category=option&symbol=BTC-29JUL22-25000-C"),
        ("GET", "cursor=page_token%3D39380%26"),
        ("POST", '{"a": 1}'),
    ],
)
def test_query_text_and_body_text_are_what_is_signed(method: str, payload: str) -> None:
    """Byte for byte, escapes and blanks included."""
    assert Keys().check_request(signed(method, payload), NOW_MS).uid == 100001


def test_refusals_have_bybits_codes() -> None:
    """Headers, key, clock, signature."""
    assert refusal(signed("GET", "")._replace(headers={})) == 401
    assert refusal(signed("GET", "", key="nobody")) == 10003
    assert refusal(signed("GET", "", secret="wrong")) == 10004
    assert refusal(signed("GET", "a=1")._replace(raw_query="a=2")) == 10004


@pytest.mark.parametrize(("ahead_ms", "is_fine"), [(-5000, True), (-5001, False), (999, True), (1000, False)])
def test_the_clock_may_be_a_window_late_and_almost_a_second_early(ahead_ms: int, is_fine: bool) -> None:
    """Both ends exactly."""
    request = signed("GET", "", timestamp=NOW_MS + ahead_ms)
    if is_fine:
        Keys().check_request(request, NOW_MS)
    else:
        assert refusal(request) == 10002


def test_keys_expire_are_bound_and_may_only_read() -> None:
    """33004, 10010, 10005."""
    keys = Keys(("simulatorkey:simulatorsecret:5:read",))
    assert keys.check_request(signed("GET", ""), NOW_MS).uid == 5
    assert refusal(signed("POST", "{}"), keys) == 10005
    keys.add(ApiKey("simulatorkey", "simulatorsecret", 5, ips=("10.0.0.1",)))
    assert refusal(signed("GET", ""), keys) == 10010
    keys.add(ApiKey("simulatorkey", "simulatorsecret", 5, is_expired=True))
    assert refusal(signed("GET", ""), keys) == 33004


def test_rsa_signatures_are_base64_of_sha256() -> None:
    """And a false one is 10004."""
    pair, keys = RSA.generate(1024), Keys()
    keys.add(ApiKey("simulatorkey", "", 5, rsa_public_key=pair.public_key().export_key().decode()))
    text = f"{NOW_MS}simulatorkey5000a=1".encode()
    import base64

    sign = base64.b64encode(pkcs1_15.new(pair).sign(SHA256.new(text))).decode()
    assert keys.check_request(signed("GET", "a=1", sign=sign), NOW_MS).uid == 5
    assert refusal(signed("GET", "a=2", sign=sign), keys) == 10004


def test_sockets_sign_get_realtime() -> None:
    """With a time in the future."""
    expires = NOW_MS + 1000
    sign = hmac.new(b"simulatorsecret", f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
    assert Keys().check_socket(["simulatorkey", expires, sign], NOW_MS).uid == 100001
    for args in (["simulatorkey", NOW_MS, sign], ["simulatorkey", expires, "x"], ["nobody", expires, sign], [], None):
        with pytest.raises(AuthError):
            Keys().check_socket(args, NOW_MS)


@pytest.mark.parametrize("text", ["", "key", "key:", ":secret", "k:s:x", "k:s:1:write", "k:s:1:read:more"])
def test_a_wrong_key_argument_is_refused(text: str) -> None:
    """With a sentence."""
    with pytest.raises(ValueError, match="KEY:SECRET"):
        key_of_text(text)
