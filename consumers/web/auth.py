"""The logins of the web server: path, credentials, and what wrong ones cost.

The event loop's thread. Refuses slowly, and answers nothing else before a login; whatever a client sends is right or
wrong, never an exception. Logs the address and the reason of a refusal, rate-limited, never what was sent.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from http import HTTPStatus
from typing import Literal

import msgspec
import structlog
from msgspec import UNSET, UnsetType
from websockets.http11 import Request, Response

from consumers.web.http import HttpAnswer
from consumers.web.options import WebOptions
from consumers.web.sockets import GuardedConnection
from model.dialect import Dialect
from model.pacing import ThrottledLogger

log = structlog.get_logger()

POLICY_VIOLATION = 1008
WRONG_PATH = 4404  # the close code that clients of earlier systems expect


class Login(msgspec.Struct, frozen=True):
    """The first message of a client without HTTP Basic, and the subscriptions that it may have beside its login."""

    user: str
    key: str
    subscribe: list[str] | None = None
    last_closed: bool = False


class Notice(msgspec.Struct, frozen=True):
    """A message of the server that answers no request: logged in, refused (`message` says why), or shutting down."""

    status: Literal["authenticated", "error", "server_shutdown"]
    message: str | UnsetType = UNSET
    type: Literal["server_shutdown"] | UnsetType = UNSET


REFUSED = msgspec.json.encode(Notice("error", "wrong user or key")).decode()


class Credentials:
    """The one user and key of the server. Compared in constant time, whatever the lengths; never shown."""

    def __init__(self, user: str, key: str) -> None:
        self._user = _digest(user)
        self._key = _digest(key)

    def match(self, user: str, key: str) -> bool:
        """Return whether both are right, in a time that gives away neither which is wrong nor how long it should be."""
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


NO_LOGIN = Login("", "")  # of a client that needs none, or has used HTTP Basic


class Authenticator:
    """Decides for each connection whether it is served."""

    def __init__(self, options: WebOptions) -> None:
        self.throttle = options.login_throttle
        self.timed_out = 0
        self._options = options
        self._credentials = Credentials(options.user, options.key)
        self._logger = ThrottledLogger(log)

    async def check_basic(
        self, address: str, lost: "asyncio.Future[None]", request: Request, *, is_required: bool = False
    ) -> Response | None:
        """Check HTTP Basic before a request is answered; one without it is accepted for now, unless `is_required`.

        `lost` is done when the client has left.
        """
        header = request.headers.get_all("Authorization")
        if not header and not is_required:
            return None
        if header and (blocked_s := self.throttle.blocked_for_s(address)):
            later = {"Retry_After": str(int(blocked_s) + 1)}
            return HttpAnswer.text(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong logins", **later).response()
        if len(header) == 1 and self._credentials.match_basic(header[0]):
            return None
        if header:
            await self._wrong(address, lost, "wrong HTTP Basic credentials")
        text = "wrong user or key" if header else "log in with WSS_AUTH_USER and WSS_AUTH_KEY"
        return HttpAnswer.text(HTTPStatus.UNAUTHORIZED, text, WWW_Authenticate='Basic realm="klines"').response()

    async def authenticate(self, connection: GuardedConnection, path: str) -> Login | None:
        """Return the client's login; None where it is refused, and is being closed."""
        assert connection.request is not None
        dialect = self._options.dialect_of(path)
        if path != self._options.path and not dialect:
            await connection.close(WRONG_PATH, "wrong path")
            return None
        if "Authorization" in connection.request.headers:  # checked before the handshake
            return NO_LOGIN
        if dialect and self._options.dialect_is_open:
            return NO_LOGIN
        return await self._first_message(connection, dialect)

    async def _first_message(self, connection: GuardedConnection, dialect: Dialect | None) -> Login | None:
        if self.throttle.blocked_for_s(connection.address):
            await connection.close(POLICY_VIOLATION, "too many wrong logins")
            return None
        try:
            message = await asyncio.wait_for(connection.recv(), self._options.auth_limit_s)
        except TimeoutError:
            self.timed_out += 1
            self._log_refusal(connection.address, "no credentials in time")
            await connection.close(POLICY_VIOLATION, "authorization timed out")
            return None
        if login := self._credentials.match_message(message):
            if dialect:
                await connection.send(dialect.authorized(str(connection.id)))
            return login
        await self._wrong(connection.address, connection.connection_lost_waiter, "wrong credentials")
        if dialect:
            await connection.send(dialect.unauthorized(str(connection.id)))
        else:
            await connection.send(REFUSED)
        await connection.close(POLICY_VIOLATION, "wrong user or key")
        return None

    async def _wrong(self, address: str, lost: "asyncio.Future[None]", reason: str) -> None:
        """Count a wrong login, and delay its answer, unless its client has left."""
        self._log_refusal(address, reason)
        delay_s = self.throttle.failed(address)
        with self.throttle.delaying():
            await asyncio.wait([lost], timeout=delay_s)

    def _log_refusal(self, address: str, reason: str) -> None:
        self._logger.warning("websocket_refused", reason, address=address, reason=reason)


def _digest(text: str) -> bytes:
    """Digest a text to one length; surrogates cannot come out of JSON or UTF-8."""
    return hashlib.sha256(text.encode(errors="replace")).digest()
