"""Requests of clients passed on to the exchange: equal ones sent once, good answers kept for a while.

The event loop's thread; requests are sent on a few threads of a pool, `passed-on`, which begins with the first one. All
that is passed on shares a part of the exchange's limit, so that the collector's own reads always have the rest.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from exchanges.buckets import Bucket
from exchanges.rest_client import Budget, RestClient
from model.market_api import ApiAnswer, ApiRequest
from model.ports import HistoryError

THREADS = 6  # requests on their way at once; an exchange answers in tens of milliseconds
WAITING_MOST = 500  # different requests that wait or are on their way
WAIT_S = 6.0  # a request that would wait longer for its share fails at once: its client gives up after ten, as a rule
KEPT_BYTES = 32 * 1024 * 1024  # of answers; the largest, all instruments of a market, have one or two MB
REFUSED_S = 5.0  # how long a refusal is kept: a client that repeats a wrong request is answered here
ENTRY_BYTES = 500  # of an answer beside its body and its query

Key = tuple[str, tuple[tuple[str, str], ...], int]


@dataclass(frozen=True)
class Passage:
    """How requests are passed on to one address of the exchange.

    `client` sends them within `budget`, a name of its budgets (None: the limit of the address alone); `share` bounds
    what all of them take of it together.
    """

    client: RestClient
    budget: str | None
    share: Budget


PassageOf = Callable[[str], Passage | None]
"""By path; None where it is not passed on."""


class SharedUpstream:
    """A model.market_api.Upstream for all clients of a process. The event loop's thread."""

    def __init__(
        self,
        passage_of: PassageOf,
        *,
        kept_bytes: int = KEPT_BYTES,
        wait_s: float = WAIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._passage_of, self._kept_bytes, self._wait_s, self._clock = passage_of, kept_bytes, wait_s, clock
        self._asked: dict[Key, asyncio.Task[ApiAnswer]] = {}
        self._kept: OrderedDict[Key, tuple[float, ApiAnswer]] = OrderedDict()  # until when; the one used last is last
        self._bytes = 0
        self._shares: dict[str, Bucket] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._is_stopped = False
        self.sent = self.shared = self.from_kept = 0
        """Requests sent, those that joined one under way, and those answered by a kept answer."""

    async def fetch(self, request: ApiRequest, *, keep_s: float = 0.0, weight: int = 1, epoch: int = 0) -> ApiAnswer:
        """Return the exchange's answer; see model.market_api.Upstream."""
        key: Key = request.path, tuple(sorted(request.query.items())), epoch
        if kept := self._kept_answer(key):
            self.from_kept += 1
            return kept
        task = self._asked.get(key)
        if task is None:
            if len(self._asked) >= WAITING_MOST:
                raise HistoryError(f"{WAITING_MOST} requests wait already to be passed on to the exchange")
            task = self._asked[key] = asyncio.ensure_future(self._ask(key, request, keep_s, weight))
            task.add_done_callback(lambda done: self._done(key, done))
        else:
            self.shared += 1
        return await asyncio.shield(task)  # one that leaves costs the others nothing

    def stop(self) -> None:
        """Send nothing any more; does not wait. Any thread. Whoever made the passages ends what is on its way."""
        self._is_stopped = True
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, key: Key, task: "asyncio.Task[ApiAnswer]") -> None:
        del self._asked[key]
        if not task.cancelled():
            task.exception()  # retrieved, where all that waited for it have left

    async def _ask(self, key: Key, request: ApiRequest, keep_s: float, weight: int) -> ApiAnswer:
        passage = self._passage_of(request.path)
        if passage is None:
            raise HistoryError(f"{request.path[:100]} is not passed on", is_final=True)
        share = passage.share
        bucket = self._shares.get(share.key) or self._shares.setdefault(share.key, Bucket(share.weight, share.per_s))
        ticket = bucket.enqueue(weight)
        try:
            deadline_s = self._clock() + self._wait_s
            while (wait_s := bucket.try_acquire(ticket)) > 0:
                if self._clock() + wait_s > deadline_s:
                    text = f"{share.weight} in {share.per_s:g} s are passed on; the next one could be in {wait_s:.1f} s"
                    raise HistoryError(text)
                await asyncio.sleep(wait_s)
        finally:
            bucket.leave(ticket)
        if self._is_stopped:
            raise HistoryError("stopped")
        self._pool = self._pool or ThreadPoolExecutor(THREADS, "passed-on")
        sent_s = time.monotonic()
        self.sent += 1
        client, budget = passage.client, passage.budget
        try:
            reply, is_good = await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: client.pass_on(request.path, request.query, budget=budget, weight=weight)
            )
        except (asyncio.CancelledError, RuntimeError):
            if self._is_stopped:  # it waited for a thread of the pool, or came too late for it
                raise HistoryError("the collector is stopping") from None
            raise
        finally:
            bucket.answered(ticket, sent_s, time.monotonic())
        answer = ApiAnswer(reply.body, "exchange", reply.status)
        self._keep(key, answer, keep_s if is_good else REFUSED_S)
        return answer

    # -- answers that are kept ----------------------------------------------------------------------------------------

    def _kept_answer(self, key: Key) -> ApiAnswer | None:
        if (kept := self._kept.get(key)) is None:
            return None
        until_s, answer = kept
        if until_s <= self._clock():
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return answer

    def _keep(self, key: Key, answer: ApiAnswer, keep_s: float) -> None:
        size = _size(key, answer)
        if keep_s <= 0 or size > self._kept_bytes:
            return
        if key in self._kept:
            self._forget(key)
        self._kept[key] = (self._clock() + keep_s, answer)
        self._bytes += size
        while self._bytes > self._kept_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        self._bytes -= _size(key, self._kept.pop(key)[1])


def _size(key: Key, answer: ApiAnswer) -> int:
    """The bytes of an entry, about: a refusal is shorter than the query that it is of may be."""
    return len(answer.body) + ENTRY_BYTES + sum(len(name) + len(value) for name, value in key[1])
