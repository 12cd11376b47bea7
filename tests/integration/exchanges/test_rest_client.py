"""The REST read client of an exchange over real sockets: budgets, bans, repeats, and servers that misbehave."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import formatdate
from typing import Any

import pytest

from exchanges.rest_client import Budget, RestClient, Verdict, ask, verdict_of_status
from exchanges.rest_limits import RestLimiter, SiteLimits
from exchanges.retries import ATTEMPTS
from model.context import StreamContext, set_current
from model.ports import HistoryError
from tests.integration.exchanges.server import ScriptedServer, response
from tests.support.servers import Server
from tests.support.waiting import wait_until

WIDE = Budget(1000, 1.0, "wide")
NARROW = Budget(5, 0.5, "narrow")
BUDGETS = {"wide": WIDE, "narrow": NARROW}
GOOD = response(b'{"ok":true}')


def sort(status: int, headers: Mapping[str, str], body: Any) -> Verdict:
    """As Binance does: a code in the body, the used weight in a header."""
    used = headers.get("x-mbx-used-weight-1m")
    code = body.get("code", 0) if isinstance(body, dict) else 0
    if status == 200 and not code:
        return Verdict("ok", used=None if used is None else int(used))
    if code == -1121:
        return Verdict("final", f"code {code}: {body['msg']}")
    if code == -1001:
        return Verdict("temporary", f"code {code}: {body['msg']}")
    return verdict_of_status(status)


def opened(url: str, **options: Any) -> closing[RestClient]:
    """A client with limits of its own."""
    options.setdefault("limits", SiteLimits())
    options.setdefault("stop", threading.Event())
    return closing(RestClient(url, budgets=BUDGETS, sort=sort, **options))


def with_headers(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """A response with headers; _ in their names is -."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def in_turn(*answers: bytes) -> Callable[[int], bytes]:
    """One after another; the last one for ever."""
    return lambda number: answers[min(number, len(answers) - 1)]


def failure(client: RestClient, budget: str = "wide", **options: Any) -> HistoryError:
    """The error of one read."""
    with pytest.raises(HistoryError) as caught:
        client.get("/x", budget=budget, **options)
    return caught.value


def most_in(times: list[float], window_s: float) -> int:
    """The most times within any window."""
    return max(sum(start <= other < start + window_s for other in times) for start in times)


def test_the_query_reaches_the_exchange_whole() -> None:
    """Names that are not ASCII, and what a query must quote; parameters that are None are left out."""
    seen: list[bytes] = []

    def talk(sock: Any) -> None:
        seen.append(sock.recv(4096))
        sock.sendall(GOOD)

    with Server(talk) as server, opened(f"http://127.0.0.1:{server.port}/") as client:
        client.get("/a/b", {"symbol": "币安人生USDT", "x": "a&b=c", "from": None, "n": 5}, budget="wide")

    assert b"GET /a/b?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&x=a%26b%3Dc&n=5 HTTP" in seen[0]


def test_headers_of_the_venue_are_sent() -> None:
    """Such as that of OKX's test network."""
    seen: list[bytes] = []

    def talk(sock: Any) -> None:
        seen.append(sock.recv(4096))
        sock.sendall(GOOD)

    url_headers = {"x-simulated-trading": "1"}
    with Server(talk) as server, opened(f"http://127.0.0.1:{server.port}", headers=url_headers) as client:
        client.get("/x", budget="wide")

    assert b"x-simulated-trading: 1" in seen[0]


def test_what_is_asked_before_a_dial_is_posted_without_a_body() -> None:
    """Repeated where that helps; the token is what `read` makes of the answer."""
    seen: list[bytes] = []

    def talk(sock: Any) -> None:
        seen.append(sock.recv(4096))
        sock.sendall(response(b'{"code":-1001,"msg":"busy"}') if len(seen) == 1 else response(b'{"token":"abc"}'))

    with Server(talk) as server:
        url = f"http://127.0.0.1:{server.port}"
        token = ask(url, "/bullet", budget=WIDE, weight=10, sort=sort, read=lambda body: body["token"])

    assert token == "abc"
    assert [head.splitlines()[0] for head in seen] == [b"POST /bullet HTTP/1.1"] * 2
    assert b"Content-Length: 0" in seen[1]


def test_a_dial_fails_as_any_other_where_it_gets_no_token() -> None:
    """A refusal, and a stream that is stopped meanwhile, are connection errors."""
    with ScriptedServer(in_turn(response(b'{"code":-1121,"msg":"no"}'))) as server:
        with pytest.raises(ConnectionError, match=r"POST /x .*code -1121: no"):
            ask(server.url, "/x", budget=WIDE, sort=sort, read=str)
        assert server.requests == 1
        set_current(context := StreamContext("stopped"))
        context.stop.set()
        try:
            with pytest.raises(ConnectionError, match="stopped"):
                ask(server.url, "/x", budget=WIDE, sort=sort, read=str)
        finally:
            set_current(None)
        assert server.requests == 1


def test_two_clients_and_four_threads_share_one_budget() -> None:
    """Never more than the weight in any window, as the exchange counts it."""
    arrivals: list[float] = []

    def answer(_number: int) -> bytes:
        arrivals.append(time.monotonic())
        return GOOD

    limits = SiteLimits()
    with (
        ScriptedServer(answer) as server,
        opened(server.url, limits=limits) as one,
        opened(server.url, limits=limits) as two,
        ThreadPoolExecutor(4) as pool,
    ):
        for done in [pool.submit(each.get, "/x", budget="narrow") for each in (one, two) * 9]:
            done.result()

    assert len(arrivals) == 18
    assert most_in(arrivals, NARROW.per_s - 0.05) <= NARROW.weight


def test_a_weight_counts_as_often() -> None:
    """Three requests of weight two do not go into five."""
    arrivals: list[float] = []

    def answer(_number: int) -> bytes:
        arrivals.append(time.monotonic())
        return GOOD

    with ScriptedServer(answer) as server, opened(server.url) as client:
        for _ in range(3):
            client.get("/x", budget="narrow", weight=2)

    assert arrivals[2] - arrivals[0] > NARROW.per_s - 0.05


def test_clients_of_one_address_share_the_process_s_limits() -> None:
    """Without limits of their own; a ban of one is a ban of the other."""
    with ScriptedServer(in_turn(response(b"", "418 I'm a teapot"))) as server:
        one, two = (opened(server.url, limits=None) for _ in range(2))
        with one as first, two as second:
            failure(first)
            assert "not sent" in str(failure(second))
        assert server.requests == 1


def test_the_weight_of_the_exchanges_headers_is_adopted() -> None:
    """What others behind the address used is not left for us."""
    used = with_headers(b"{}", X_MBX_USED_WEIGHT_1M="3")
    with ScriptedServer(in_turn(used, GOOD)) as server, opened(server.url) as client:
        began_s = time.monotonic()
        client.get("/x", budget="narrow")  # one of ours, two of others, who are left room for one more
        client.get("/x", budget="narrow")
        assert time.monotonic() - began_s < NARROW.per_s
        client.get("/x", budget="narrow")
        assert time.monotonic() - began_s >= NARROW.per_s


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_kept(as_date: bool) -> None:
    """As seconds and as a date: no request is sent before it, then the read succeeds."""
    after = formatdate(time.time() + 3, usegmt=True) if as_date else "1"
    limited = with_headers(b'{"code":-1003}', "429 Too Many Requests", Retry_After=after)
    with ScriptedServer(in_turn(limited, GOOD)) as server, opened(server.url) as client:
        began_s = time.monotonic()
        assert client.get("/x", budget="narrow") == {"ok": True}
        assert time.monotonic() - began_s >= 0.99
        assert server.requests == 2
        assert client.counts == {"limited": 1, "ok": 1}


def test_a_refusal_for_the_rate_that_never_ends_is_an_error() -> None:
    """After a few repeats, and it is not final."""
    limited = with_headers(b"", "429 Too Many Requests", Retry_After="0.0")
    with ScriptedServer(in_turn(with_headers(b"", "429 Too Many Requests", Retry_After="1"), limited)) as server:
        with opened(server.url, limits=SiteLimits()) as client:
            error = failure(client, "narrow")
        assert "HTTP 429" in str(error)
        assert not error.is_final
        assert server.requests == ATTEMPTS


def test_a_retry_after_of_hours_is_not_waited_for() -> None:
    """The read fails at once, with the refusal, and so does the next, without a request."""
    hours = with_headers(b"", "429 Too Many Requests", Retry_After="7200")
    with ScriptedServer(in_turn(hours)) as server, opened(server.url) as client:
        error = failure(client)
        assert "7200" in str(error)
        assert error.problem is not None
        assert (error.problem.cause, error.problem.status) == ("http_429", 429)
        assert "not sent" in str(failure(client))
        assert server.requests == 1


@pytest.mark.parametrize(
    ("status", "words", "seconds"),
    [("403 Forbidden", "banned for now", 600), ("418 x", "for too many requests", 120), ("451 x", "country", 600)],
)
def test_a_ban_is_an_error_at_once_and_nothing_is_sent_until_it_is_over(status: str, words: str, seconds: int) -> None:
    """With what it means and what to do, the reads that are not sent as well."""
    limiter = RestLimiter()
    banned = response(b'{"code":0,"msg":"Service unavailable"}', status)
    with ScriptedServer(in_turn(banned)) as server, opened(server.url, limits=SiteLimits(limiter)) as client:
        error = failure(client)
        assert f"HTTP {status[:3]}" in str(error)
        for each in (error, failure(client, "narrow")):
            assert each.problem is not None
            assert words in each.problem.meaning
            assert each.problem.remedy
        assert not error.is_final
        assert server.requests == 1
        assert seconds - 5 < limiter.banned_s <= seconds


def test_a_ban_ends_when_the_exchange_says() -> None:
    """Retry-After of the 418; the next read is sent."""
    limiter = RestLimiter()
    banned = with_headers(b"<html>", "418 x", Retry_After="1")
    with ScriptedServer(in_turn(banned, GOOD)) as server, opened(server.url, limits=SiteLimits(limiter)) as client:
        failure(client)
        wait_until(lambda: limiter.banned_s == 0)
        assert client.get("/x", budget="wide") == {"ok": True}


def test_a_read_that_waits_for_its_budget_ends_with_a_ban() -> None:
    """Another read was answered that the address is banned: the one that waits is not sent."""
    limits = SiteLimits()
    with ScriptedServer(in_turn(GOOD)) as server, opened(server.url, limits=limits) as client:
        client.get("/x", budget="narrow", weight=5)
        limits.bucket_of("narrow", 5).refused(50.0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(failure, client, "narrow")
            limits.address.ban(60.0, "by a test")
            assert "by a test" in str(waiting.result(5))
        assert server.requests == 1


@pytest.mark.parametrize(
    "answer",
    [
        response(b'{"code":-1001,"msg":"Internal error"}', "400 Bad Request"),
        response(b"<html>busy</html>", "503 Service Unavailable"),
        response(b"<html>a captive portal</html>"),
        response(b'{"ok":tru'),
        response(b"[" * 200_000),
        response(b"", "302 Found"),
        response(b'{"ok":true}', length=5000),
        b"",
        b"\x16\x03\x01 no HTTP\r\n\r\n",
    ],
    ids=["code", "503", "html", "cut", "deep", "redirect", "short", "closed", "garbage"],
)
def test_what_is_temporary_is_repeated_and_at_last_an_error(answer: bytes) -> None:
    """With pauses that grow; one good answer ends it."""
    with ScriptedServer(in_turn(answer, answer, GOOD)) as server, opened(server.url, request_timeout_s=1.0) as client:
        assert client.get("/x", budget="wide") == {"ok": True}
        assert server.requests == 3
    with ScriptedServer(in_turn(answer)) as server, opened(server.url, request_timeout_s=0.2) as client:
        assert not failure(client).is_final
        assert server.requests == ATTEMPTS


def test_an_answer_without_sense_is_read_again() -> None:
    """`read` refuses it with ValueError."""

    def read(body: Any) -> int:
        if "n" not in body:
            raise ValueError("no n")
        return int(body["n"])

    with ScriptedServer(in_turn(GOOD, response(b'{"n":5}'))) as server, opened(server.url) as client:
        assert client.get("/x", {}, budget="wide", read=read) == 5
    with ScriptedServer(in_turn(GOOD)) as server, opened(server.url) as client:
        assert "no n" in str(failure(client, read=read))
        assert server.requests == ATTEMPTS


@pytest.mark.parametrize(
    "answer",
    [response(b'{"code":-1121,"msg":"Invalid symbol."}', "400 Bad Request"), response(b"not here", "404 Not Found")],
)
def test_a_final_refusal_is_an_error_at_once(answer: bytes) -> None:
    """The request itself is refused: one request, and the exchange's words."""
    with ScriptedServer(in_turn(answer)) as server, opened(server.url) as client:
        error = failure(client, params={"symbol": "NOPE"})
        assert error.is_final
        assert "NOPE" in str(error)
        assert "Invalid symbol" in str(error) or "not here" in str(error)
        assert server.requests == 1


def test_nobody_there_is_an_error_after_the_repeats() -> None:
    """A port that nobody listens on."""
    with ScriptedServer(in_turn(GOOD)) as server:
        url = server.url
    with opened(url) as client:
        assert not failure(client).is_final
        assert client.counts == {"no_answer": ATTEMPTS}


@pytest.mark.parametrize("where", ["budget", "backoff", "answer", "drip"])
def test_stop_ends_every_wait(where: str) -> None:
    """Within moments: for the budget, between repeats, for an answer, in an answer that drips."""
    stop, limits = threading.Event(), SiteLimits()
    if where == "budget":
        limits.bucket_of("wide", 1000).refused(50.0)

    def talk(sock: Any) -> None:
        sock.recv(4096)
        if where == "backoff":
            sock.sendall(with_headers(b"", "503 x", Retry_After="50"))
        elif where == "drip":
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            server.drip(sock)
        else:
            server.over.wait(20)

    with Server(talk) as server, opened(f"http://127.0.0.1:{server.port}", limits=limits, stop=stop) as client:
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(failure, client)
            if where != "budget":
                wait_until(lambda: server.connections == 1)
            stop.set()
            assert "stopped" in str(reading.result(5))
        assert "stopped" in str(failure(client))


@pytest.mark.parametrize(
    ("status", "cause"), [("429 Too Many Requests", "http_429"), ("503 Service Unavailable", "http_5xx")]
)
def test_a_stop_while_it_waits_keeps_what_the_exchange_answered(status: str, cause: str) -> None:
    """Who ended it after its own limit can say what it was."""
    stop = threading.Event()
    with (
        ScriptedServer(in_turn(with_headers(b"", status, Retry_After="30"))) as server,
        opened(server.url, limits=SiteLimits(), stop=stop) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        reading = pool.submit(failure, client)
        wait_until(lambda: sum(client.counts.values()) == 1)
        stop.set()
        error = reading.result(5)
    assert "stopped" in str(error)
    assert error.problem is not None
    assert error.problem.cause == cause


def test_a_slow_drip_is_bounded_in_time() -> None:
    """A byte each 20 ms for ever: every attempt ends with the time for a whole request."""

    def talk(sock: Any) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        server.drip(sock)

    began_s = time.monotonic()
    with Server(talk) as server, opened(f"http://127.0.0.1:{server.port}", request_timeout_s=0.3) as client:
        assert not failure(client).is_final
        assert server.connections == ATTEMPTS
    assert time.monotonic() - began_s < 15


def test_a_gigabyte_is_not_taken_into_memory() -> None:
    """The answer ends where it is larger than any answer can be."""
    sent: list[int] = []

    def talk(sock: Any) -> None:
        sock.recv(4096)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        piece = b" " * (1 << 20)
        for number in range(1024):
            sock.sendall(piece)
            sent.append(number)

    with Server(talk) as server, opened(f"http://127.0.0.1:{server.port}") as client:
        assert "larger than" in str(failure(client))

    assert len(sent) < ATTEMPTS * 128


def test_many_threads_all_get_their_answers() -> None:
    """Forty at once over one client, more than connections are kept."""
    with ScriptedServer(lambda number: response(b'{"ok":true}')) as server, opened(server.url) as client:
        with ThreadPoolExecutor(40) as pool:
            answers = [pool.submit(client.get, "/x", {"n": n}, budget="wide") for n in range(120)]
            assert [each.result() for each in answers] == [{"ok": True}] * 120
        assert client.counts == {"ok": 120}


def test_an_unknown_budget_is_a_mistake_of_the_venue() -> None:
    """KeyError, before anything is sent."""
    with ScriptedServer(in_turn(GOOD)) as server, opened(server.url) as client:
        with pytest.raises(KeyError, match="nope"):
            client.get("/x", budget="nope")
        assert server.requests == 0
