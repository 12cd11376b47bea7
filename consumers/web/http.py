"""HTTP on the web server's port: requests, answers, and the paths that are answered.

Pure; the event loop's thread. Who may ask what is decided in consumers/web/access.py, and how long a connection is kept
in consumers/web/connection.py.
"""

import email.utils
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from consumers.web.client import Client

TEXT, JSON = "text/plain; charset=utf-8", "application/json"
QUERY_FIELDS = 20
METHODS = ("GET", "HEAD")
PHRASES = MappingProxyType({int(each): each.phrase for each in HTTPStatus})  # an exchange's status may have none
SECURE: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)  # headers of every answer that has no others of the name


@dataclass(frozen=True)
class HttpRequest:
    """A GET request. `path` is decoded, of `query` the last value of a name counts, `headers` have small letters."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, request: Request) -> "HttpRequest":
        """Read a request; ValueError where its query has too many fields."""
        path, _, query = request.path.partition("?")
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS)
        headers = {name: ", ".join(request.headers.get_all(name)) for name in {key.lower() for key in request.headers}}
        return cls(unquote(path), dict(fields), headers)


@dataclass(frozen=True)
class HttpAnswer:
    """An answer. `headers` come in the place of SECURE's of the same names."""

    status: int = 200
    body: bytes = b""
    content_type: str = TEXT
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def text(cls, status: int, text: str, **headers: str) -> "HttpAnswer":
        """An answer of one sentence; `headers` are written with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, f"{text}\n".encode(), TEXT, named)

    @classmethod
    def json(cls, status: int, content: Any) -> "HttpAnswer":
        """An answer of JSON."""
        return cls(status, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n", JSON)

    def response(self) -> Response:
        """Return what is sent; the connection leaves the body out for HEAD."""
        headers = Headers(
            {
                "Date": email.utils.formatdate(usegmt=True),
                "Connection": "close",
                "Content-Length": str(len(self.body)),
                "Content-Type": self.content_type,
                **{name: value for name, value in SECURE.items() if name not in self.headers},
                **self.headers,
            }
        )
        return Response(self.status, PHRASES.get(self.status, ""), headers, self.body)


Handler = Callable[[HttpRequest], HttpAnswer | Awaitable[HttpAnswer]]
"""Answers a request on the event loop's thread: what takes more than some milliseconds has to be awaited."""


Refuse = Callable[[int, str], HttpAnswer]
"""Writes the refusal of a request: HTTP status and a sentence."""


@dataclass(frozen=True)
class Route:
    """What answers a path. `is_open`: nobody has to log in for it, wherever the request comes from.

    `refuse`: in which form whoever asks for the path expects a refusal.
    """

    handler: Handler
    is_open: bool = False
    refuse: Refuse = HttpAnswer.text


Routes = Mapping[str, Route]
"""By path; one that ends with / and is not / is a prefix."""


def route_of(routes: Routes, path: str) -> Route | None:
    """Return what answers a path: its own route, or that of its longest prefix."""
    if path in routes:
        return routes[path]
    prefixes = [prefix for prefix in routes if prefix != "/" and prefix.endswith("/") and path.startswith(prefix)]
    return routes[max(prefixes, key=len)] if prefixes else None


class Session(Protocol):
    """One client of a WebSocket path of its own. The event loop's thread."""

    def received(self, message: str | bytes, /) -> object:
        """Take one message; what it raises ends this connection alone."""

    def closed(self) -> object:
        """Record that the connection has ended, whoever ended it."""


SessionFactory = Callable[[Client], Session]
"""Begins a session when its client may be sent to: `client.send(Message(...))` never blocks. A client that falls behind
is closed."""
Sessions = Mapping[str, SessionFactory]
"""By path."""
