"""The collector's own protocol: envelopes, narrowed by `{"op": "subscribe", "args": ["kline.1m.*", "ticker.BTC*"]}`.

The event loop's thread. A client is subscribed to everything at first; its first subscribe replaces that, later ones
add. A batch is applied whole or not at all, and every request is answered.
"""

from collections.abc import Iterable
from typing import Literal
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, UnsetType

from consumers.web.auth import Login, Notice
from consumers.web.client import Client
from consumers.web.envelopes import LastClosed
from consumers.web.fanout import Fanout
from consumers.web.frames import Answer, Message
from consumers.web.topics import EVERYTHING, PATTERNS_LIMIT, WILD_LIMIT, Patterns, parse_pattern, shown

AUTHENTICATED = msgspec.json.encode(Notice("authenticated"))
SHUTDOWN = msgspec.json.encode(Notice("server_shutdown", type="server_shutdown"))
REQ_ID_LENGTH = 64
QUERY_FIELDS = 20
TRUE = ("1", "true", "yes")
OPS = ("subscribe", "unsubscribe", "subscriptions", "last_closed", "ping")


class Request(msgspec.Struct):
    """A client's message; `type` is how clients of earlier systems ping."""

    op: str = ""
    args: list[str] | None = None
    req_id: str | int | None = None
    last_closed: bool = False
    type: str = ""


class Reply(msgspec.Struct):
    """The answer to a request: `args` are the topics that it named or that are subscribed, `req_id` is the request's.

    `op` is the request's, of a ping `pong`. `error` says why a request was refused.
    """

    op: str
    success: bool
    args: list[str] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    req_id: str | int | UnsetType = UNSET


class Pong(msgspec.Struct, frozen=True):
    """The answer to a ping of a client of an earlier system."""

    type: Literal["pong"] = "pong"


PONG = msgspec.json.encode(Pong())


class NativeSession:
    """One client's side of the protocol."""

    def __init__(self, client: Client, fanout: Fanout, last_closed: LastClosed) -> None:
        self._client, self._fanout, self._last_closed = client, fanout, last_closed
        self._wants = EVERYTHING
        self._is_default = True

    def begin(self, login: Login, query: str) -> None:
        """Confirm the login, and subscribe to what the login or the URL names, else to everything."""
        fields = _query_fields(query)
        patterns = [*(login.subscribe or ()), *",".join(fields.get("subscribe", ())).split(",")]
        patterns = [pattern for pattern in patterns if pattern]
        wants_last = login.last_closed or fields.get("last_closed", [""])[0].lower() in TRUE
        self._answer(AUTHENTICATED)
        if patterns:
            self._handle(Request("subscribe", patterns, None, wants_last))
            return
        self._fanout.move(self._client, self._wants)
        if wants_last:
            self._send_last(self._wants)

    def received(self, message: str | bytes) -> None:
        """Answer one message; nothing that a client sends raises."""
        if message in ("ping", b"ping"):
            self._answer(b"pong")
            return
        try:
            request = msgspec.json.decode(message, type=Request)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            reason = "too deep" if isinstance(error, RecursionError) else str(error)[:200]
            self._refuse(Request(), f"not understood: {reason}")
            return
        if request.type == "ping":
            self._answer(PONG)
        elif isinstance(request.req_id, str) and len(request.req_id) > REQ_ID_LENGTH:
            request.req_id = None
            self._refuse(request, f"req_id has more than {REQ_ID_LENGTH} characters")
        else:
            self._handle(request)

    def _handle(self, request: Request) -> None:
        try:
            if request.op == "subscribe":
                self._subscribe(request)
            elif request.op == "unsubscribe":
                self._unsubscribe(request)
            elif request.op == "last_closed":
                wanted = self._read(request) if request.args else self._wants
                self._reply(request)
                self._send_last(wanted)
            elif request.op == "subscriptions":
                self._reply(request, args=_listed(self._wants))
            elif request.op == "ping":
                self._reply(request, op="pong")
            else:
                raise ValueError(f"unknown op; allowed: {', '.join(OPS)}")  # noqa: TRY301 - one way to refuse
        except ValueError as error:
            self._refuse(request, str(error))

    def _subscribe(self, request: Request) -> None:
        named = self._read(request)
        self._want(_bounded(named if self._is_default else self._wants | named))
        self._reply(request, args=_listed(named))
        if request.last_closed:
            self._send_last(named)

    def _unsubscribe(self, request: Request) -> None:
        named = self._read(request)
        if missing := named - self._wants:
            names, subscribed = (", ".join(_listed(each)[:10]) for each in (missing, self._wants))
            raise ValueError(f"not subscribed: {names}; subscribed: {subscribed or 'nothing'}")
        self._want(Patterns(self._wants - named))
        self._reply(request, args=_listed(named))

    def _want(self, wants: Patterns) -> None:
        self._is_default = False
        self._wants = wants
        self._fanout.move(self._client, wants)

    def _read(self, request: Request) -> Patterns:
        if not request.args:
            raise ValueError('args is empty; write {"op":"subscribe","args":["kline.1m.BTCUSDT","ticker.*"]}')
        return _bounded(map(parse_pattern, request.args))

    def _send_last(self, wanted: Patterns) -> None:
        for envelope in self._last_closed.envelopes(wanted):
            self._client.send(Message(envelope.json))

    def _refuse(self, request: Request, error: str) -> None:
        self._send(Reply(request.op[:40], success=False, error=error), request)

    def _reply(self, request: Request, op: str = "", args: list[str] | UnsetType = UNSET) -> None:
        self._send(Reply(op or request.op, success=True, args=args), request)

    def _send(self, reply: Reply, request: Request) -> None:
        if request.req_id is not None:
            reply.req_id = request.req_id
        self._answer(msgspec.json.encode(reply))

    def _answer(self, text: bytes) -> None:
        self._client.send(Answer(text))


def _bounded(patterns: Iterable[str]) -> Patterns:
    wants = Patterns(patterns)
    if len(wants) > PATTERNS_LIMIT:
        raise ValueError(f"more than {PATTERNS_LIMIT} subscriptions; use patterns such as kline.1m.*")
    if len(wants.wild) > WILD_LIMIT:
        raise ValueError(f"more than {WILD_LIMIT} patterns with * or ?")
    return wants


def _query_fields(query: str) -> dict[str, list[str]]:
    try:
        return parse_qs(query, max_num_fields=QUERY_FIELDS)
    except ValueError:
        return {}


def _listed(patterns: Iterable[str]) -> list[str]:
    return sorted(map(shown, patterns))
