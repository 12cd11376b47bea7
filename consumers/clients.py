"""One authorized client of the WSS output: what waits for it, and who it says it is.

`consumer-websocket` thread (its event loop). Encodes nothing: every client sends the same text.
"""

import asyncio
import base64
import binascii
import hmac
from collections import deque

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

POLICY_VIOLATION = 1008
SECRET_LIMIT = 1024  # characters of a user or key that are looked at


class Credentials:
    """The one user and key that clients must know. Compared in constant time; never shown."""

    def __init__(self, user: str, key: str) -> None:
        self._user = user.encode()
        self._key = key.encode()

    def match(self, user: str, key: str) -> bool:
        """Say whether both are right, in a time that does not tell which is wrong."""
        is_user = hmac.compare_digest(self._user, user[:SECRET_LIMIT].encode())
        is_key = hmac.compare_digest(self._key, key[:SECRET_LIMIT].encode())
        return is_user & is_key

    def match_basic(self, header: str) -> bool:
        """Check an HTTP `Authorization: Basic ...` header."""
        scheme, _, encoded = header.partition(" ")
        try:
            user, _, key = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return scheme.lower() == "basic" and self.match(user, key)

    def match_message(self, message: str | bytes) -> bool:
        """Check a first message `{"user": ..., "key": ...}`."""
        try:
            login = msgspec.json.decode(message, type=Login)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        return self.match(login.user, login.key)


class Login(msgspec.Struct):
    """The first message of a client that did not use HTTP Basic."""

    user: str
    key: str


class Client:
    """A connection and its bounded queue; over the bound the client is closed, and others do not notice."""

    def __init__(self, connection: ServerConnection, limit: int) -> None:
        self.connection = connection
        self.is_slow = False
        self._limit = limit
        self._waiting: deque[str] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def offer(self, text: str) -> bool:
        """Queue one message; False, once and for all, when the client is over its bound."""
        if self.is_slow:
            return False
        if len(self._waiting) >= self._limit:
            self.is_slow = True
            self._waiting.clear()
            self._wake.set()
            return False
        self._waiting.append(text)
        self._idle.clear()
        self._wake.set()
        return True

    async def write(self) -> None:
        """Send what is queued, until the client is gone or too slow."""
        try:
            while not self.is_slow:
                if not self._waiting:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self.connection.send(self._waiting.popleft())
        except ConnectionClosed:
            pass
        self._idle.set()

    async def drained(self) -> None:
        """Wait until everything queued was handed to the connection."""
        await self._idle.wait()
