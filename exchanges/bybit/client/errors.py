"""The errors of the client as one tree: everything a call raises is a BybitError.

Pure. The tables are the docs' error page, grouped by what a caller can do. Holds no key and no signature: parameters
that look like secrets are blanked.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

Remedy = Literal["none", "retry", "wait", "resync", "breaker"]

MESSAGE_CHARACTERS = 300  # a proxy's error page does not belong in a log line
SECRET_WORDS = ("secret", "password", "apikey", "api_key", "signature", "token")


class BybitError(Exception):
    """A call failed.

    `code` is Bybit's retCode (None where there was none), `http_status` that of the answer (None without an answer),
    `endpoint` such as "POST /v5/order/create", `params` what was asked without secrets. `is_retry_safe`: the same
    call may be made again without doing anything twice. `may_be_done`: the exchange may have done it all the same.
    """

    remedy: Remedy = "none"

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        http_status: int | None = None,
        endpoint: str = "",
        params: Mapping[str, Any] | None = None,
        is_retry_safe: bool = False,
        may_be_done: bool = False,
        reset_ms: int = 0,
    ) -> None:
        self.message = message[:MESSAGE_CHARACTERS]
        self.code, self.http_status, self.endpoint = code, http_status, endpoint
        self.params = without_secrets(params or {})
        self.is_retry_safe, self.may_be_done = is_retry_safe, may_be_done
        self.reset_ms = reset_ms
        super().__init__(self.message)

    def __str__(self) -> str:
        """Endpoint, code and the exchange's message."""
        code = f"retCode {self.code}: " if self.code is not None else ""
        status = f"HTTP {self.http_status}: " if self.http_status not in (None, 200) and not code else ""
        return f"{self.endpoint}: {status}{code}{self.message}".removeprefix(": ")


class RequestError(BybitError):
    """The request itself is wrong: a parameter, a path, a name."""


class AuthError(BybitError):
    """Key, signature or account are not accepted: missing, unknown, expired, or of another environment."""


class PermissionDeniedError(AuthError):
    """The key is good but may not do this: permission, address, region."""


class RequestExpiredError(BybitError):
    """Bybit found the request's time outside recv_window (10002); the client has measured the time again meanwhile."""

    remedy: Remedy = "resync"


class RateLimitError(BybitError):
    """Too many requests: the exchange refused one (nothing was done), or the client's own limit has no permit left."""

    remedy: Remedy = "wait"


class BannedError(RateLimitError):
    """HTTP 403: this address is banned or may not use the exchange. No request leaves for ten minutes."""

    remedy: Remedy = "breaker"


class ServerError(BybitError):
    """The exchange's own trouble, or an answer that makes no sense."""

    remedy: Remedy = "retry"


class BadAnswerError(ServerError):
    """The answer is no answer of Bybit's: HTML, cut off, or without what it must hold."""


class CursorLoopError(BadAnswerError):
    """The exchange gave a page's cursor a second time: following it would never end."""

    remedy: Remedy = "none"


class NetworkError(BybitError):
    """No answer: not reached, cut off, or too slow."""

    remedy: Remedy = "retry"


class OrderRejectedError(BybitError):
    """The exchange understood the order or position request and refused it (110xxx, 170xxx)."""


class OrderNotFoundError(OrderRejectedError):
    """No such order, or it is filled or cancelled already."""


class DuplicateOrderError(OrderRejectedError):
    """An order with this orderLinkId exists."""


class ClosedError(BybitError):
    """The client was closed while the call waited."""


class MissingLibraryError(ModuleNotFoundError):
    """A part of the client that needs more than requirements.txt was used without it."""


_ORDER_RANGES = (range(110000, 111000), range(170000, 171000))

_CLASS_OF: Mapping[int, type[BybitError]] = MappingProxyType(
    {  # docs: error. What is not listed and not 110xxx or 170xxx is a RequestError.
        **dict.fromkeys((10003, 10004, 10007, 10008, 33004, -2015, 20001), AuthError),
        **dict.fromkeys((10005, 10009, 10010, 10024, 10027, 10028, 10029), PermissionDeniedError),
        **dict.fromkeys((10006, 10429, 20003), RateLimitError),
        **dict.fromkeys((10018, 10403), BannedError),
        **dict.fromkeys((10002, -1), RequestExpiredError),
        **dict.fromkeys((429, 10000, 10016, 10019, 170001, 170007, 170032, 110079), ServerError),
        **dict.fromkeys((110001, 110008, 110010, 170213, 170142, 170139), OrderNotFoundError),
        **dict.fromkeys((110072, 170141), DuplicateOrderError),
        34040: OrderRejectedError,
    }
)

UNCHANGED_CODES = frozenset({110043, 110025, 34040})
"""Leverage, position mode, stop: the state requested is there already. Taken as success."""


def code_of(raw: Mapping[str, Any]) -> int | None:
    """An answer's retCode; None where it has none that is an integer: that is no success, and no refusal either."""
    code = raw.get("retCode", raw.get("ret_code"))
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def class_of_code(code: int) -> type[BybitError]:
    """The class of a retCode other than 0."""
    found = _CLASS_OF.get(code)
    if found is None:
        found = OrderRejectedError if any(code in numbers for numbers in _ORDER_RANGES) else RequestError
    return found


def class_of_status(status: int) -> type[BybitError]:
    """The class of an HTTP status other than 200."""
    if status == 403:
        return BannedError
    if status in (401, 407):
        return AuthError
    if status in (408, 429) or status >= 500:
        return ServerError
    return RequestError if 400 <= status < 500 else BadAnswerError


def without_secrets(params: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose values of secret-looking names are blanked."""
    return {name: "***" if any(word in name.lower() for word in SECRET_WORDS) else params[name] for name in params}
