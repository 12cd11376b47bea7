"""One definition of every call, run by two drivers: blocking for BybitClient, awaiting for AsyncBybitClient.

A call is a generator of steps: it yields what is to be done (send this, wait so long) and receives the reply.
It contains neither sockets nor event loops; the drivers contain nothing else.
"""

import asyncio
import functools
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeAlias, overload

from typing_extensions import TypeVar

from exchanges.bybit.client.calls import Request
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.transport import Transport
from exchanges.transport import Reply

P = ParamSpec("P")
T = TypeVar("T")


class Sync:
    """Marks what belongs to BybitClient: calls return their result."""


class Async:
    """Marks what belongs to AsyncBybitClient: calls are awaited."""


M = TypeVar("M", bound=Sync | Async)
N = TypeVar("N", bound=Decimal | float, default=Decimal)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the Reply comes back."""

    request: Request


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Hand items of an iterator out."""

    items: Sequence[T]


Steps: TypeAlias = Generator[Wait | Send, Reply | None, T]
Pages: TypeAlias = Generator[Wait | Send | Page[T], Reply | None, None]


def _into(results: list[T], steps: Steps[T]) -> Pages[object]:
    """The steps, their result put into a list: so one loop runs calls and iterators."""
    results.append((yield from steps))


class SyncDriver:
    """Runs steps on the calling thread; `stop` ends waits early."""

    def __init__(self, transport: Transport, stop: threading.Event) -> None:
        self._transport, self._stop = transport, stop

    def run(self, steps: Steps[T]) -> T:
        """The result; raises what the steps raise."""
        results: list[T] = []
        for _ in self.iterate(_into(results, steps)):
            pass  # a call hands no items out
        return results[0]

    def iterate(self, steps: Pages[T]) -> Iterator[T]:
        """Yield the items, page after page, as they are consumed."""
        reply: Reply | None = None
        with closing(steps):
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration:
                    return
                reply = None
                if isinstance(step, Page):
                    yield from step.items
                else:
                    reply = self._do(step)

    def _do(self, step: Wait | Send) -> Reply | None:
        if isinstance(step, Send):
            return self._transport.send(step.request)
        self._stop.wait(step.seconds)
        return None


class AsyncDriver:
    """Runs steps on the running event loop; requests block threads of `pool`, waits block nothing."""

    def __init__(self, transport: Transport, stop: threading.Event, pool: ThreadPoolExecutor) -> None:
        self._transport, self._stop, self._pool = transport, stop, pool

    async def run(self, steps: Steps[T]) -> T:
        """The result. A cancelled call stops waiting; a request on its way arrives nevertheless."""
        results: list[T] = []
        async for _ in self.iterate(_into(results, steps)):
            pass
        return results[0]

    async def iterate(self, steps: Pages[T]) -> AsyncIterator[T]:
        """Yield the items, page after page, as they are consumed."""
        reply: Reply | None = None
        with closing(steps):
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration:
                    return
                reply = None
                if isinstance(step, Page):
                    for item in step.items:
                        yield item
                else:
                    reply = await self._do(step)

    async def _do(self, step: Wait | Send) -> Reply | None:
        if isinstance(step, Send):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._transport.send, step.request)
        await self._sleep(step.seconds)
        return None

    async def _sleep(self, seconds: float) -> None:
        """In slices, so that a closed client does not wait on."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0 and not self._stop.is_set():
            await asyncio.sleep(min(left_s, 0.5))


Driver: TypeAlias = SyncDriver | AsyncDriver


class Caller(Generic[M]):
    """An object whose calls a driver runs: the base of all services."""

    driver: Driver


class endpoint(Generic[P, T]):  # noqa: N801 - a decorator
    """Makes a method of steps a call: plain on a service of BybitClient, awaitable on one of AsyncBybitClient."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self.steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, service: None, owner: type) -> Self: ...
    @overload
    def __get__(self, service: Caller[Sync], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, service: Caller[Async], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, service: Any, owner: type) -> Any:
        """The call, bound."""
        return self if service is None else _bound(self.steps, service, service.driver.run)


class pages(Generic[P, T]):  # noqa: N801 - a decorator
    """Makes a method of pages an iterator: `for` on BybitClient, `async for` on AsyncBybitClient."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Pages[T]]) -> None:
        self.steps = steps
        self.__doc__ = steps.__doc__

    @overload
    def __get__(self, service: None, owner: type) -> Self: ...
    @overload
    def __get__(self, service: Caller[Sync], owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, service: Caller[Async], owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, service: Any, owner: type) -> Any:
        """The iterator's maker, bound."""
        return self if service is None else _bound(self.steps, service, service.driver.iterate)


def _bound(steps: Callable[..., Any], service: Any, run: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(steps)
    def call(*args: Any, **params: Any) -> Any:
        return run(checked(args, params))

    def checked(args: Any, params: Mapping[str, Any]) -> Generator[Any, Any, Any]:
        """The steps, unless None is given where something must be."""
        for name in _required(steps):
            if name in params and params[name] is None:
                raise RequestError(f"{name} is None: it must be given")
        return (yield from steps(service, *args, **params))

    return call


@functools.cache
def _required(steps: Callable[..., Any]) -> tuple[str, ...]:
    """Parameters that have no default: None, which elsewhere means that something is left out, is a mistake there."""
    params = inspect.signature(steps).parameters.values()
    return tuple(param.name for param in params if param.kind is param.KEYWORD_ONLY and param.default is param.empty)
