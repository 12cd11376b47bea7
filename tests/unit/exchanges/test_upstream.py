"""Requests of clients that are passed on: sent once, kept for a while, within their share of the limit."""

import asyncio
import threading

import pytest

from exchanges.rest_client import Budget
from exchanges.transport import Answer
from exchanges.upstream import THREADS, Passage, SharedUpstream
from model.market_api import FOR_EVER, ApiRequest
from model.ports import HistoryError


class Site:
    """A RestClient whose answers wait for `free`, where that is given."""

    def __init__(self, body=b"{}", free=None, is_good=True):
        self.asked = []
        self._body, self._free, self._is_good = body, free, is_good

    def pass_on(self, path, params, *, budget, weight=1):
        self.asked.append((path, dict(params), budget, weight))
        if self._free:
            self._free.wait(5)
        if isinstance(self._body, Exception):
            raise self._body
        return Answer(200, self._body, {}, 0.0, 0.0), self._is_good


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


WIDE = Budget(100, 1.0, "clients")


def upstream_of(site, share=WIDE, **options):
    return SharedUpstream(lambda path: Passage(site, "name", share) if path != "/other" else None, **options)


def ask(upstream, *requests, keep_s=0.0):
    async def together():
        asked = [upstream.fetch(request, keep_s=keep_s) for request in requests]
        return await asyncio.gather(*asked, return_exceptions=True)

    try:
        return asyncio.run(together())
    finally:
        upstream.stop()


def test_equal_requests_that_come_together_are_one():
    """Ten bots cost the exchange what one does; the order of their parameters makes no other request."""
    free = threading.Event()
    site = Site(b'{"a":1}', free)
    upstream = upstream_of(site)
    requests = [ApiRequest("/p", {"a": "1", "b": "2"}), ApiRequest("/p", {"b": "2", "a": "1"})] * 5
    threading.Timer(0.05, free.set).start()
    answers = ask(upstream, *requests)
    assert [answer.body for answer in answers] == [b'{"a":1}'] * 10
    assert len(site.asked) == 1
    assert (upstream.sent, upstream.shared) == (1, 9)


def test_requests_of_another_epoch_are_others():
    """Who asks for klines when one has just closed is not given an answer in which it is open, kept or under way."""
    free = threading.Event()
    site = Site(b"[]", free)
    upstream = upstream_of(site)
    request = ApiRequest("/klines")

    async def ask_twice():
        threading.Timer(0.05, free.set).start()
        await asyncio.gather(*(upstream.fetch(request, keep_s=9.0, epoch=epoch) for epoch in (60, 120)))
        await upstream.fetch(request, keep_s=9.0, epoch=120)

    asyncio.run(ask_twice())
    upstream.stop()
    assert (upstream.sent, upstream.from_kept) == (2, 1)


def test_a_client_that_leaves_costs_the_others_nothing():
    free = threading.Event()
    upstream = upstream_of(Site(b"[]", free))

    async def leave():
        first = asyncio.ensure_future(upstream.fetch(ApiRequest("/p")))
        second = asyncio.ensure_future(upstream.fetch(ApiRequest("/p")))
        await asyncio.sleep(0.01)
        first.cancel()
        free.set()
        return await second

    assert asyncio.run(leave()).body == b"[]"
    upstream.stop()


@pytest.mark.parametrize(("keep_s", "later_s", "sent"), [(60.0, 59.0, 1), (60.0, 61.0, 2), (FOR_EVER, 1e9, 1)])
def test_a_good_answer_is_kept_as_long_as_its_nature_allows(keep_s, later_s, sent):
    site, clock = Site(), Clock()
    upstream = upstream_of(site, clock=clock)

    async def twice():
        await upstream.fetch(ApiRequest("/p"), keep_s=keep_s)
        clock.now_s += later_s
        await upstream.fetch(ApiRequest("/p"), keep_s=keep_s)

    asyncio.run(twice())
    upstream.stop()
    assert len(site.asked) == sent


def test_a_refusal_is_passed_on_and_not_kept_for_long():
    """A bot that repeats a wrong request is answered here; what is listed later is found."""
    site, clock = Site(b'{"retCode":10001}', is_good=False), Clock()
    upstream = upstream_of(site, clock=clock)

    async def thrice():
        for wait_s in (0.0, 1.0, 10.0):
            clock.now_s += wait_s
            assert (await upstream.fetch(ApiRequest("/p"), keep_s=FOR_EVER)).body == b'{"retCode":10001}'

    asyncio.run(thrice())
    upstream.stop()
    assert len(site.asked) == 2


def test_what_is_kept_is_bounded_by_its_bytes():
    """The answer that was used longest ago goes first; one larger than all is not kept at all."""
    site = Site(b"x" * 1000)
    upstream = upstream_of(site, kept_bytes=5000)

    async def many():
        for number in (1, 2, 3, 1, 4, 1, 2):
            await upstream.fetch(ApiRequest("/p", {"n": str(number)}), keep_s=FOR_EVER)

    asyncio.run(many())
    upstream.stop()
    assert [params["n"] for _, params, *_ in site.asked] == ["1", "2", "3", "4", "2"]


def test_long_queries_count_for_what_is_kept():
    """A short answer to a list of all symbols is kept with the list."""
    site = Site(b"{}")
    upstream = upstream_of(site, kept_bytes=50_000)
    ask(upstream, *(ApiRequest("/p", {"symbols": f"{number}" * 7_000}) for number in range(10)), keep_s=FOR_EVER)
    assert sum(len(value) for _, query, _ in upstream._kept for _, value in query) <= 50_000


def test_more_than_the_share_allows_fail_at_once():
    """The collector's own reads keep the rest of the limit; a client is not left waiting until it gives up."""
    upstream = upstream_of(Site(), share=Budget(2, 60.0, "clients"), wait_s=1.0)
    answers = ask(upstream, *(ApiRequest("/p", {"n": str(number)}) for number in range(5)))
    failed = [str(answer) for answer in answers if isinstance(answer, HistoryError)]
    assert len(failed) == 3
    assert "2 in 60 s are passed on" in failed[0]


@pytest.mark.parametrize("path", ["/p", "/other"])
def test_what_cannot_be_asked_is_an_error_for_all_that_asked(path):
    upstream = upstream_of(Site(HistoryError("banned")))
    assert all(isinstance(answer, HistoryError) for answer in ask(upstream, ApiRequest(path), ApiRequest(path)))


def test_what_waits_for_a_thread_at_the_end_fails_with_a_sentence():
    """Cancelled, it would end the task of its client's connection, which got no answer."""
    free = threading.Event()
    upstream = upstream_of(Site(free=free))

    async def stopped():
        asked = [asyncio.ensure_future(upstream.fetch(ApiRequest(f"/p{number}"))) for number in range(THREADS + 2)]
        while upstream.sent < len(asked):
            await asyncio.sleep(0.01)
        upstream.stop()
        free.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    failed = [each for each in asyncio.run(stopped()) if isinstance(each, BaseException)]
    assert [type(each) for each in failed] == [HistoryError] * 2
    assert "stopping" in str(failed[0])
