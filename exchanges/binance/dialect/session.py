"""One client of Binance's streams as they are served: its requests, the answers, and Binance's limits.

The event loop's thread; nothing that a client sends raises. At Binance a stream that does not exist is acknowledged and
silent: so is one here that has the form of a name. Any other is refused, with all of its request.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote

import msgspec

from exchanges.binance.dialect.streams import PATH, Stream, Streams, markets_of
from model.dialect import DialectClient

REQUEST_BYTES = 4096  # a longer request is dropped by Binance without an answer
STREAMS_MOST = 1024  # of one connection
ID_MOST, ID_CHARACTERS = 1 << 63, 36  # of integers, which are signed, and of texts
ECHO_LENGTH = 100  # of what a client wrote, in an answer
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
UNKNOWN_PROPERTY, INVALID_VALUE, INVALID_REQUEST, INVALID_JSON, TOO_MANY = range(5)  # Binance's codes


class StreamSource(Protocol):
    """What a session needs of the dialect."""

    @property
    def streams(self) -> Streams: ...
    def subscribe(self, stream: Stream, name: str, *, is_combined: bool) -> str: ...
    def has_room(self, streams: Collection[Stream]) -> bool: ...


class RefusedError(Exception):
    """A request is refused, with one of Binance's codes."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class BinanceSession:
    """The streams of one client, by name."""

    def __init__(self, client: DialectClient, path: str, source: StreamSource) -> None:
        """`path` is one of the dialect's; the streams that the URL names are subscribed."""
        found = PATH.fullmatch(path)
        self._client, self._source, self._markets = client, source, markets_of(path)
        self._is_combined = found is not None and found["framing"] == "stream"
        self._streams: dict[str, Stream] = {}
        query = parse_qs(client.query)
        self._is_in_microseconds = query.get("timeUnit", [""])[0].upper() == "MICROSECOND"
        in_path = (found and found["names"]) or ""
        named = "/".join(query.get("streams", ())) if self._is_combined else unquote(in_path)
        try:  # what is no name of a stream is left out: ccxt numbers its connections so
            self._subscribe([name for name in named.split("/") if "@" in name or name.startswith("!")])
        except RefusedError as error:
            self._client.answer(refusal(error.code, str(error), None))

    def received(self, message: str | bytes) -> None:
        """Answer one message."""
        request_id = None
        try:
            request = _read(message)
            request_id = _id_of(request)
            self._handle(request, request_id)
        except RefusedError as error:
            self._client.answer(refusal(error.code, str(error), request_id))

    def _handle(self, request: dict[str, Any], request_id: int | str | None) -> None:
        method, params = request.get("method"), request.get("params")
        if method not in METHODS:
            what = f"unknown variant `{str(method)[:ECHO_LENGTH]}`, expected one of {', '.join(METHODS)}"
            raise _invalid(what if "method" in request else "missing field `method`")
        if method == "LIST_SUBSCRIPTIONS":
            self._client.answer(answer(list(self._streams), request_id))
            return
        if not isinstance(params, list) or not params:
            raise _invalid("missing field `params`")
        if method.endswith("PROPERTY"):
            result = self._property(params, is_set=method == "SET_PROPERTY")
            self._client.answer(answer(result, request_id))
        elif not all(isinstance(name, str) for name in params):
            raise RefusedError(INVALID_VALUE, "Invalid value type: expected a string")
        elif method == "SUBSCRIBE":
            self._subscribe(params, answer(None, request_id))
        else:
            for name in params:
                self._streams.pop(name, None)
            self._update()
            self._client.answer(answer(None, request_id))

    def _subscribe(self, names: Sequence[str], accepted: str = "") -> None:
        """Subscribe all of these or none; the answer goes out before data. One that is subscribed is no mistake."""
        found = {name: stream for name in names if (stream := self._source.streams.find(self._markets, name))}
        missing = next((name for name in names if name not in found), None)
        if missing is not None:
            where = " and ".join(self._markets)
            raise _invalid(f"there is no stream {missing[:ECHO_LENGTH]} here, on a path of {where}")
        if found and self._is_in_microseconds:
            raise _invalid("timeUnit MICROSECOND is not served here")
        if len(self._streams.keys() | found.keys()) > STREAMS_MOST or not self._source.has_room(found.values()):
            raise RefusedError(TOO_MANY, "Too many subscriptions")
        self._streams |= found
        self._update()
        if accepted:
            self._client.answer(accepted)

    def _property(self, params: list[Any], *, is_set: bool) -> bool | None:
        if params[0] != "combined":
            raise RefusedError(UNKNOWN_PROPERTY, "Unknown property")
        if not is_set:
            return self._is_combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise RefusedError(INVALID_VALUE, "Invalid value type: expected Boolean")
        self._is_combined = params[1]
        self._update()
        return None

    def _update(self) -> None:
        subscribe, is_combined = self._source.subscribe, self._is_combined
        keys = [subscribe(stream, name, is_combined=is_combined) for name, stream in self._streams.items()]
        self._client.subscribe("", keys)


def answer(result: object, request_id: int | str | None) -> str:
    """Return the answer to a request."""
    return json.dumps({"result": result, "id": request_id}, separators=(",", ":"), ensure_ascii=False)


def refusal(code: int, text: str, request_id: int | str | None) -> str:
    """Return the answer to a request that is refused, with its id: spot's documented form has none to match it by."""
    error = {"error": {"code": code, "msg": text}, "id": request_id}
    return json.dumps(error, separators=(",", ":"), ensure_ascii=False)


def _invalid(text: str) -> RefusedError:
    return RefusedError(INVALID_REQUEST, f"Invalid request: {text}")


def _read(message: str | bytes) -> dict[str, Any]:
    if len(message if isinstance(message, bytes) else message.encode(errors="replace")) > REQUEST_BYTES:
        raise _invalid(f"more than {REQUEST_BYTES} bytes, which Binance drops")
    try:
        request = msgspec.json.decode(message)
    except (ValueError, RecursionError) as error:
        raise RefusedError(INVALID_JSON, "Invalid JSON: expected value at line 1 column 1") from error
    if not isinstance(request, dict):
        raise _invalid("request must be an object")
    return request


def _id_of(request: dict[str, Any]) -> int | str | None:
    value = request.get("id")
    is_text = isinstance(value, str) and len(value) <= ID_CHARACTERS
    if value is None or is_text or (type(value) is int and -ID_MOST <= value < ID_MOST):
        return value
    raise _invalid("request ID must be an integer")
