"""Who comes in: the path, the credentials, and what wrong ones cost.

The event loop's thread. Says nothing but yes or no before it has said yes; says no slowly. Logs who was refused and
why, never what was sent, and seldom.
"""

import asyncio
import time
from http import HTTPStatus

import structlog
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from consumers.web.credentials import Credentials, Login
from consumers.web.login_throttle import Door
from consumers.web.sockets import GuardedConnection
from exchanges.bybit.dialect import answers
from model.pacing import LogThrottle

log = structlog.get_logger()

POLICY_VIOLATION = 1008
WRONG_PATH = 4404  # as clients of earlier systems know it
ANYBODY = Login("", "")


class Gate:
    """Decides for each connection. `bybit_paths` are those that speak Bybit; `open_paths` need no login there."""

    def __init__(
        self, credentials: Credentials, path: str, limit_s: float, bybit_paths: frozenset[str], is_open: bool
    ) -> None:
        self.door = Door(time.monotonic)
        self.timed_out = 0
        self._credentials = credentials
        self._path = path
        self._limit_s = limit_s
        self._bybit_paths = bybit_paths
        self._is_open = is_open
        self._throttle = LogThrottle()

    async def check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Check HTTP Basic before the handshake is answered; no header is no mistake."""
        assert isinstance(connection, GuardedConnection)
        header = request.headers.get_all("Authorization")
        if not header:
            return None
        if barred_s := self.door.barred_s(connection.address):
            response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many wrong logins\n")
            response.headers["Retry-After"] = str(int(barred_s) + 1)
            return response
        if len(header) == 1 and self._credentials.match_basic(header[0]):
            return None
        await self._wrong(connection, "wrong HTTP Basic credentials")
        response = connection.respond(HTTPStatus.UNAUTHORIZED, "wrong user or key\n")
        response.headers["WWW-Authenticate"] = 'Basic realm="klines"'
        return response

    async def let_in(self, connection: GuardedConnection, path: str) -> Login | None:
        """Return what the client said when it logged in; None where it is not let in, and is being closed."""
        assert connection.request is not None
        if path != self._path and path not in self._bybit_paths:
            await connection.close(WRONG_PATH, "wrong path")
            return None
        if "Authorization" in connection.request.headers:  # checked before the handshake
            return ANYBODY
        if path in self._bybit_paths and self._is_open:
            return ANYBODY
        return await self._first_message(connection, is_bybit=path in self._bybit_paths)

    async def _first_message(self, connection: GuardedConnection, *, is_bybit: bool) -> Login | None:
        if self.door.barred_s(connection.address):
            await connection.close(POLICY_VIOLATION, "too many wrong logins")
            return None
        try:
            message = await asyncio.wait_for(connection.recv(), self._limit_s)
        except TimeoutError:
            self.timed_out += 1
            self._note(connection, "no credentials in time")
            await connection.close(POLICY_VIOLATION, "authorization timed out")
            return None
        if login := self._credentials.match_message(message):
            if is_bybit:
                await connection.send(answers.authorized(str(connection.id), None))
            return login
        await self._wrong(connection, "wrong credentials")
        if is_bybit:
            await connection.send(answers.unauthorized(str(connection.id)))
        else:
            await connection.send('{"status":"error","message":"wrong user or key"}')
        await connection.close(POLICY_VIOLATION, "wrong user or key")
        return None

    async def _wrong(self, connection: GuardedConnection, reason: str) -> None:
        """Count it, and let it wait for its answer."""
        self._note(connection, reason)
        delay_s = self.door.wrong_try(connection.address)
        self.door.begin_delay()
        try:
            gone = connection.connection_lost_waiter
            await asyncio.wait([gone], timeout=delay_s)
        finally:
            self.door.end_delay()

    def _note(self, connection: GuardedConnection, reason: str) -> None:
        held = self._throttle.allow(reason, time.monotonic())
        if held is not None:
            log.warning("websocket_refused", address=connection.address, reason=reason, held_back=held)
