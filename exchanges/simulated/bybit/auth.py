"""Authentication: API keys, Bybit's canonical strings, HMAC and RSA signatures (BYBIT_V5.md sections 3.3 and 6).

Pure but for the keys it keeps. Checks in Bybit's order, and answers with Bybit's codes.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from ..rest import Request

DEFAULT_KEY, DEFAULT_SECRET, DEFAULT_UID = "simulatorkey", "simulatorsecret", 100001
DEFAULT_WINDOW_MS = 5000
MAX_AHEAD_MS = 1000  # a timestamp may be this far in the future
KEY_INVALID, SIGN_INVALID, TIME_INVALID = 10003, 10004, 10002
NO_PERMISSION, KEY_EXPIRED, IP_UNBOUND = 10005, 33004, 10010
MAX_COLONS = 3  # KEY:SECRET:UID:read
HEADERS = ("x-bapi-api-key", "x-bapi-timestamp", "x-bapi-sign")


class AuthError(Exception):
    """A refusal with Bybit's code; 401 stands for HTTP 401."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(slots=True)
class ApiKey:
    """One API key. `rsa_public_key` is PEM and replaces the secret; `ips` empty is any."""

    key: str
    secret: str
    uid: int
    may_trade: bool = True
    is_expired: bool = False
    rsa_public_key: str = ""
    ips: tuple[str, ...] = ()

    def has_signed(self, text: bytes, signature: str) -> bool:
        """Whether a signature is right: HMAC-SHA256 as lower-case hex, or RSA-SHA256 (PKCS #1 v1.5) as base64."""
        if self.rsa_public_key:
            return _is_rsa_signature(self.rsa_public_key, text, signature)
        expected = hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected.encode(), signature.encode())


def _is_rsa_signature(public_key: str, text: bytes, signature: str) -> bool:
    from Crypto.Hash import SHA256  # few runs use RSA, all would wait for the import
    from Crypto.PublicKey import RSA
    from Crypto.Signature import pkcs1_15

    try:
        pkcs1_15.new(RSA.import_key(public_key)).verify(SHA256.new(text), base64.b64decode(signature))
    except (ValueError, TypeError):
        return False
    return True


def key_of_text(text: str) -> ApiKey:
    """Parse KEY:SECRET[:UID[:read]] of the command line."""
    key, secret, uid, permission, *_ = [*text.split(":"), "", "", ""]
    is_right = key and secret and text.count(":") <= MAX_COLONS and permission in ("", "read", "trade")
    if not is_right or not (uid or "0").isdigit():
        raise ValueError(f"{text!r} does not look like KEY:SECRET[:UID[:read]]")
    return ApiKey(key, secret, int(uid or DEFAULT_UID), permission != "read")


class Keys:
    """All keys of the exchange."""

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self._keys = {DEFAULT_KEY: ApiKey(DEFAULT_KEY, DEFAULT_SECRET, DEFAULT_UID)}
        for text in more:
            self.add(key_of_text(text))

    def add(self, key: ApiKey) -> None:
        """Add a key, or replace it."""
        self._keys[key.key] = key

    def _known(self, name: str) -> ApiKey:
        key = self._keys.get(name)
        if key is None:
            raise AuthError(KEY_INVALID, "API key is invalid.")
        if key.is_expired:
            raise AuthError(KEY_EXPIRED, "Your api key has expired.")
        return key

    def check_request(self, request: Request, now_ms: int) -> ApiKey:
        """The key that signed a REST request; AuthError where it is not to be answered."""
        headers = request.headers
        if not all(headers.get(name) for name in HEADERS):
            raise AuthError(401, "")
        key = self._known(headers["x-bapi-api-key"])
        window = headers.get("x-bapi-recv-window", "")
        stamp = headers["x-bapi-timestamp"]
        check_time(stamp, window, now_ms)
        payload = request.raw_query.encode() if request.method == "GET" else request.raw_body
        text = f"{stamp}{key.key}{window}".encode() + payload
        if not key.has_signed(text, headers["x-bapi-sign"]):
            origin = text.decode(errors="replace")
            raise AuthError(
                SIGN_INVALID, f"error sign! origin_string[{origin}], please check your signature generation algorithm."
            )
        if key.ips and request.client_ip not in key.ips:
            raise AuthError(IP_UNBOUND, "Unmatched IP, please check your API key's bound IP addresses.")
        if request.method == "POST" and not key.may_trade:
            raise AuthError(NO_PERMISSION, "Permission denied, please check your API key permissions.")
        return key

    def check_socket(self, args: Any, now_ms: int) -> ApiKey:
        """The key of an auth frame's [key, expires, signature]."""
        if not isinstance(args, list) or len(args) != 3 or not str(args[1]).isdigit():
            raise AuthError(10001, "Params Error")
        key = self._known(str(args[0]))
        if int(args[1]) <= now_ms:
            raise AuthError(TIME_INVALID, "Params expires is expired")
        if not key.has_signed(f"GET/realtime{args[1]}".encode(), str(args[2])):
            raise AuthError(SIGN_INVALID, "Invalid sign")
        return key


def check_time(stamp: str, window: str, now_ms: int) -> None:
    """Check a request's time: AuthError 10002 outside server - window <= timestamp < server + 1000."""
    if not stamp.isdigit() or not (window or "0").isdigit():
        raise AuthError(10001, "request parameter err: timestamp or recv_window")
    window_ms = int(window or DEFAULT_WINDOW_MS)
    if not now_ms - window_ms <= int(stamp) < now_ms + MAX_AHEAD_MS:
        raise AuthError(
            TIME_INVALID,
            "invalid request, please check your server timestamp or recv_window param. "
            f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window_ms}]",
        )
