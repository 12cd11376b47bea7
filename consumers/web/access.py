"""Who may ask what on the web server's port: logins, host names, and the origin of pages.

Pure but for the delay of a wrong login. On a loopback address everything is open, and so every request has to name it:
else a page of any site, whose name is made to point here (DNS rebinding), could read it. Elsewhere all but open routes
asks for the login.
"""

import asyncio
import dataclasses
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets.http11 import Request, Response

from consumers.web.auth import Authenticator
from consumers.web.connection import ClientConnection
from consumers.web.http import METHODS, HttpAnswer, Route
from consumers.web.options import WebOptions
from consumers.web.sockets import GuardedConnection
from network.addresses import is_loopback

NO_LOGIN_SET = (
    "Not from here: set WSS_AUTH_USER and WSS_AUTH_KEY and log in with them, or listen on this machine alone with "
    "WEBSOCKET_HOST=127.0.0.1. /livez and /readyz answer everybody."
)
OTHER_HOST = "This server is not {host}: ask it by the address it listens on, as in http://127.0.0.1:{port}/"
OTHER_ORIGIN = "Not for pages of {origin}"


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without its port; "" where it is none."""
    try:
        return urlsplit(f"//{host.strip()}").hostname or ""
    except ValueError:
        return ""


def is_upgrade(request: Request) -> bool:
    """Return whether a request asks for a WebSocket."""
    return any("websocket" in value.lower() for value in request.headers.get_all("Upgrade"))


def method_refused(method: str, route: Route | None) -> HttpAnswer:
    """Refuse another method than GET and HEAD, as whoever asks for the path expects it."""
    refuse = route.refuse if route else HttpAnswer.text
    answer = refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"{method[:20]} is not answered here, but GET and HEAD")
    return dataclasses.replace(answer, headers={**answer.headers, "Allow": ", ".join(METHODS)})


class Access:
    """Refuses what may not be asked. Methods return a refusal, or None."""

    def __init__(self, options: WebOptions, authenticator: Authenticator) -> None:
        self._options, self._authenticator = options, authenticator
        self.is_local = is_loopback(options.host)

    async def check_route(self, connection: ClientConnection, request: Request, route: Route | None) -> Response | None:
        """Refuse a request for HTTP that is not answered by `route`, which is None where there is none."""
        if request.method not in METHODS:
            return method_refused(request.method, route).response()
        if refusal := self._check_host(connection.port, request):
            return refusal
        if route is None:
            return self.not_found()
        return None if route.is_open else await self._check_login(connection.address, connection.lost, request)

    async def check_session(self, connection: GuardedConnection, request: Request) -> Response | None:
        """Refuse the handshake of a page's socket: a page of another site may not open one."""
        if refusal := self._check_host(connection.local_address[1], request):
            return refusal
        for origin in request.headers.get_all("Origin"):
            if origin.lower().partition("://")[2] != ", ".join(request.headers.get_all("Host")).lower():
                return HttpAnswer.text(HTTPStatus.FORBIDDEN, OTHER_ORIGIN.format(origin=origin)).response()
        return await self._check_login(connection.address, connection.connection_lost_waiter, request)

    def not_found(self) -> Response:
        """Say which paths there are."""
        options = self._options
        known = ", ".join(sorted({*options.routes, *options.sessions}))
        hint = "" if options.serves_envelopes else "; WebSocket envelopes need websocket in ENABLED_CONSUMERS"
        return HttpAnswer.text(HTTPStatus.NOT_FOUND, f"Not found. There are: {known or 'no pages'}{hint}").response()

    def _check_host(self, port: int, request: Request) -> Response | None:
        hosts = request.headers.get_all("Host")
        if not self.is_local or not hosts:  # browsers always send one
            return None
        if len(hosts) == 1 and (is_loopback(name := host_name(hosts[0])) or name == self._options.host.lower()):
            return None
        text = OTHER_HOST.format(host=hosts[0][:80], port=port)
        return HttpAnswer.text(HTTPStatus.FORBIDDEN, text).response()

    async def _check_login(self, address: str, lost: "asyncio.Future[None]", request: Request) -> Response | None:
        if self.is_local:
            return None
        if not self._options.has_login:
            return HttpAnswer.text(HTTPStatus.FORBIDDEN, NO_LOGIN_SET).response()
        return await self._authenticator.check_basic(address, lost, request, is_required=True)
