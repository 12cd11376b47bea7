"""Who clients must say they are: one user and one key, in two ways of saying it.

Pure. Compared in constant time, whatever the lengths; never shown. Whatever a client sends is right or wrong, never
an exception.
"""

import base64
import binascii
import hashlib
import hmac

import msgspec


class Login(msgspec.Struct):
    """The first message of a client that did not use HTTP Basic; what it wants may stand beside."""

    user: str
    key: str
    subscribe: list[str] | None = None
    last_closed: bool = False


class Credentials:
    """The one user and key that clients must know."""

    def __init__(self, user: str, key: str) -> None:
        self._user = _digest(user)
        self._key = _digest(key)

    def match(self, user: str, key: str) -> bool:
        """Say whether both are right, in a time that tells neither which is wrong nor how long it should be."""
        is_user = hmac.compare_digest(self._user, _digest(user))
        is_key = hmac.compare_digest(self._key, _digest(key))
        return is_user & is_key

    def match_basic(self, header: str) -> bool:
        """Check an HTTP `Authorization: Basic ...` header, which clients also make of wss://user:key@host/."""
        scheme, _, encoded = header.partition(" ")
        try:
            user, _, key = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and self.match(user, key)

    def match_message(self, message: str | bytes) -> Login | None:
        """Check a first message `{"user": ..., "key": ...}`; returns it where it is right."""
        try:
            login = msgspec.json.decode(message, type=Login)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        return login if self.match(login.user, login.key) else None


def _digest(text: str) -> bytes:
    """A text's digest has one length for all texts; surrogates cannot come out of JSON or UTF-8."""
    return hashlib.sha256(text.encode(errors="replace")).digest()
