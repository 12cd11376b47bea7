"""For services of your own, as the developer guide of the client shows them: `@with_error_handling`, `@rate_limited`.

Both work on methods of objects with an `api_client` (or on plain functions), blocking and coroutine ones.
"""

import asyncio
import contextlib
import functools
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError

from exchanges.buckets import Bucket
from exchanges.bybit.client.errors import (
    BadAnswerError,
    BybitError,
    NetworkError,
    RateLimitError,
    class_of_code,
    class_of_status,
    code_of,
)
from exchanges.bybit.client.limits import GROUPS
from exchanges.bybit.client.results import Result
from exchanges.retries import PERMIT_LIMIT_S

F = TypeVar("F", bound=Callable[..., Any])

_own: dict[str, Bucket] = {}  # of functions without an api_client
_own_lock = threading.Lock()


def rate_limited(group: str) -> Callable[[F], F]:
    """Let the function be called so often per second as its group allows: market, account, order or position.

    Counted per key, beside the limits that every request keeps by itself. Blocks, or raises RateLimitError where the
    client was made with limits="raise". ValueError for a group that does not exist.
    """
    if group not in GROUPS:
        raise ValueError(f"no such rate limit group: {group!r}, there are {', '.join(GROUPS)}")

    def decorate(function: F) -> F:
        def limited(*args: Any, **params: Any) -> Any:
            for wait_s in _waits_for_permit(group, args):
                time.sleep(wait_s)
            return function(*args, **params)

        async def limited_async(*args: Any, **params: Any) -> Any:
            for wait_s in _waits_for_permit(group, args):
                await asyncio.sleep(wait_s)
            return await function(*args, **params)

        return _like(function, limited, limited_async)

    return decorate


def with_error_handling(function: F) -> F:
    """Have the function raise BybitError and nothing else of pybit's or requests', and return the `result` part.

    An answer with a retCode other than 0 is raised too.
    """

    def handled(*args: Any, **params: Any) -> Any:
        with _translating(function.__name__):
            return _opened(function(*args, **params), function.__name__)

    async def handled_async(*args: Any, **params: Any) -> Any:
        with _translating(function.__name__):
            return _opened(await function(*args, **params), function.__name__)

    return _like(function, handled, handled_async)


def _like(function: F, blocking: Callable[..., Any], awaited: Callable[..., Any]) -> F:
    """The wrapper for what the function is, under its name."""
    chosen: Any = functools.wraps(function)(awaited if inspect.iscoroutinefunction(function) else blocking)
    return chosen  # type: ignore[no-any-return]


def _waits_for_permit(group: str, args: tuple[Any, ...]) -> Any:
    """Yield the seconds to wait, again and again, until the call has its permit."""
    api = getattr(args[0], "api_client", None) if args else None
    bucket = api.limits.group(group, api.connection.api_key) if api is not None else _own_bucket(group)
    deadline_s = time.monotonic() + PERMIT_LIMIT_S
    ticket = bucket.enqueue()
    try:
        while (wait_s := bucket.try_acquire(ticket)) > 0:
            if time.monotonic() + wait_s > deadline_s or (api is not None and api.mode == "raise"):
                raise RateLimitError(f"no permit in group {group!r}: wait {wait_s:.2f} s", is_retry_safe=True)
            yield wait_s
    finally:
        bucket.leave(ticket)
    now_s = time.monotonic()
    bucket.answered(ticket, now_s, now_s)


def _own_bucket(group: str) -> Bucket:
    with _own_lock:
        return _own.setdefault(group, Bucket(GROUPS[group]))


def _opened(answer: Any, name: str) -> Any:
    """The result of a whole answer; anything else as it is."""
    if not isinstance(answer, Mapping) or isinstance(answer, Result) or "retCode" not in answer:
        return answer
    code = code_of(answer)
    if code is None:
        raise BadAnswerError(f"no code: retCode is {answer['retCode']!r:.60}", endpoint=name, may_be_done=True)
    if code:
        raise class_of_code(code)(str(answer.get("retMsg", "")), code=code, endpoint=name)
    return Result(answer.get("result"), answer)


@contextlib.contextmanager
def _translating(name: str) -> Iterator[None]:
    try:
        yield
    except (requests.RequestException, FailedRequestError, InvalidRequestError) as error:
        raise _translated(error, name) from None


def _translated(error: Exception, name: str) -> BybitError:
    if isinstance(error, InvalidRequestError):
        return class_of_code(error.status_code)(str(error.message), code=error.status_code, endpoint=name)
    if isinstance(error, FailedRequestError):
        return class_of_status(error.status_code)(str(error.message), http_status=error.status_code, endpoint=name)
    if isinstance(error, requests.exceptions.JSONDecodeError):
        return BadAnswerError("no JSON", endpoint=name)
    return NetworkError(f"{type(error).__name__}: {error}", endpoint=name, may_be_done=True)
