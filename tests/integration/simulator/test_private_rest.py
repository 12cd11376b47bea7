"""The simulated exchange's private REST as it meets a client: limits, bans, faults, certificates, history."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from websockets.sync.client import connect

from tests.integration.simulator.pybit_clients import KEYS
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ACCOUNT = "/v5/account/info"
CREATE = "/v5/order/create"
ORDER = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.001"}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimulatorProcess]:
    """A quiet market; tests leave it without faults."""
    with SimulatorProcess("--rate", "20", "--symbols", "2", "--illiquid", "0") as process:
        yield process


def call(sim: SimulatorProcess, method: str, path: str, body: Any = None, limit_s: float = 5.0) -> requests.Response:
    """One signed request over a connection of its own; `body` is the query text of a GET."""
    stamp, window = str(time.time_ns() // 1_000_000), "5000"
    payload = json.dumps(body) if method == "POST" else str(body or "")
    signed = f"{stamp}{KEYS['api_key']}{window}{payload}".encode()
    headers = {
        "X-BAPI-API-KEY": KEYS["api_key"], "X-BAPI-TIMESTAMP": stamp, "X-BAPI-RECV-WINDOW": window,
        "X-BAPI-SIGN": hmac.new(KEYS["api_secret"].encode(), signed, hashlib.sha256).hexdigest(),
        "Content-Type": "application/json", "Connection": "close",
    }  # fmt: skip
    url = sim.rest_url + path + (f"?{payload}" if method == "GET" and payload else "")
    return requests.request(method, url, data=payload if method == "POST" else None, headers=headers, timeout=limit_s)


def create(sim: SimulatorProcess, link: str, limit_s: float = 5.0) -> requests.Response:
    """A market order with a link id."""
    return call(sim, "POST", CREATE, ORDER | {"orderLinkId": link}, limit_s)


def test_more_than_ten_orders_a_second_are_10006(sim: SimulatorProcess) -> None:
    """The header names the time of relief, and after it there is room again."""
    sim.command("limits", forget=True, **{CREATE: 10})
    answers = [create(sim, f"burst-{number}") for number in range(12)]
    codes = [answer.json()["retCode"] for answer in answers]
    assert codes[0] == 0
    if 10006 in codes:  # a machine that needs a second for them never meets the limit
        refused = answers[codes.index(10006)]
        assert refused.headers["X-Bapi-Limit-Status"] == "0"
        wait_s = int(refused.headers["X-Bapi-Limit-Reset-Timestamp"]) / 1000 - time.time()
        assert wait_s <= 1.0
        time.sleep(max(0.0, wait_s))
        assert create(sim, "burst-later").json()["retCode"] == 0
    report = sim.get("/sim/limits").json()["endpoints"][f"100001 POST {CREATE} futures"]
    assert report["limit"] == 10
    assert report["max_accepted_in_1s"] <= 10
    assert report["refused"] == codes.count(10006)


def test_headers_count_down(sim: SimulatorProcess) -> None:
    """From the endpoint's own limit, which a command changes."""
    sim.command("limits", **{ACCOUNT: 500, "forget": True})
    left = [int(call(sim, "GET", ACCOUNT).headers["X-Bapi-Limit-Status"]) for _ in range(2)]
    assert left[0] == 499
    assert left[1] in (498, 499)


def test_an_ip_that_asks_too_often_is_banned() -> None:
    """403 for everything, until the time is over."""
    with SimulatorProcess("--rest-limit", "20", "--ban-s", "0.5", "--symbols", "1", "--illiquid", "0") as sim:
        statuses = [sim.get("/v5/market/time").status_code for _ in range(25)]
        assert statuses == [200] * 20 + [403] * 5
        assert call(sim, "GET", ACCOUNT).status_code == 403
        assert sim.get("/sim/limits").json()["ips"]["127.0.0.1"] == {"max_in_5s": 26, "requests": 26, "bans": 1}
        sim.command("ratelimit", s=0)
        assert sim.get("/v5/market/time").status_code == 200


def test_missing_headers_are_401_and_bodies_with_get_403(sim: SimulatorProcess) -> None:
    """As Bybit's HTTP layer answers."""
    assert sim.get(ACCOUNT).status_code == 401
    assert requests.get(sim.rest_url + "/v5/market/time", data="{}", timeout=5).status_code == 403
    assert sim.get("/v5/nothing").status_code == 404


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"what": "rate_limited", "s": 0.1}, 200, 10006),
        ({"what": "expired_request"}, 200, 10002),
        ({"what": "ret_code", "code": 10016, "msg": "busy"}, 200, 10016),
        ({"what": "http", "status": 500}, 500, None),
        ({"what": "http", "status": 403}, 403, None),
        ({"what": "html"}, 200, None),
    ],
)
def test_refusals_on_command_come_once_and_nothing_is_done(
    sim: SimulatorProcess, fault: dict[str, Any], status: int, code: int | None
) -> None:
    """The next request is answered as ever."""
    sim.command("limits", all=0, **{CREATE: 0})
    link = f"refused-{fault['what']}-{status}"
    sim.command("rest_fault", **fault, path=CREATE)
    answer = create(sim, link)
    assert answer.status_code == status
    if code is None:
        with pytest.raises(ValueError):
            answer.json()
    else:
        assert answer.json()["retCode"] == code
    assert sim.get("/sim/orders", prefix=link).json()["placed"] == {}
    assert create(sim, link).json()["retCode"] == 0


def tally_of(sim: SimulatorProcess, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
    """Received and placed."""
    order_counts = sim.get("/sim/orders", prefix=prefix).json()
    return order_counts["received"], order_counts["placed"]


@pytest.mark.parametrize("what", ["hang", "hang_after", "reset", "reset_after", "truncate", "late"])
def test_lost_answers_leave_the_outcome_unknown(sim: SimulatorProcess, what: str) -> None:
    """Whether the order was placed, only the order counts show."""
    sim.command("limits", all=0, **{CREATE: 0})
    link = f"lost-{what}-"
    sim.command("rest_fault", what=what, path=CREATE, s=0.6)
    with pytest.raises((requests.Timeout, requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        create(sim, link, limit_s=0.3)
    placed = {} if what in ("hang", "reset") else {link: 1}
    wait_until(lambda: tally_of(sim, link) == ({link: 1}, placed))
    again = create(sim, link).json()["retCode"]
    assert again == (0 if what in ("hang", "reset") else 110072)


def test_slow_answers_come_nevertheless(sim: SimulatorProcess) -> None:
    """After the commanded time."""
    sim.command("rest_fault", what="slow", path="/v5/market/time", s=0.3)
    began = time.monotonic()
    assert sim.get("/v5/market/time").json()["retCode"] == 0
    assert time.monotonic() - began >= 0.3


def test_cursor_faults(sim: SimulatorProcess) -> None:
    """A loop gives the same page for ever; an empty page is no end."""
    sim.command("rest_fault", what="cursor_loop", path="/v5/market/instruments-info", count=None)
    cursors, cursor = set(), ""
    for _ in range(3):
        page = sim.get("/v5/market/instruments-info", category="linear", limit=1, cursor=cursor).json()["result"]
        cursor = page["nextPageCursor"].replace("%3D", "=")
        cursors.add(cursor)
        assert [row["symbol"] for row in page["list"]] == ["BTCUSDT"]
    assert len(cursors) == 1
    sim.command("rest_clear")
    sim.command("rest_fault", what="empty_page", path="/v5/market/instruments-info")
    page = sim.get("/v5/market/instruments-info", category="linear").json()["result"]
    assert page["list"] == []
    cursor = page["nextPageCursor"].replace("%3D", "=")
    page = sim.get("/v5/market/instruments-info", category="linear", cursor=cursor).json()["result"]
    assert len(page["list"]) == 2


def test_random_faults_are_the_same_for_a_seed(sim: SimulatorProcess) -> None:
    """Its shares are kept, and nothing is placed twice."""
    sim.command("limits", all=0, **{CREATE: 0})
    drawn = []
    for attempt in range(2):
        sim.command("rest_mix", shares={"html": 0.3, "ret_code": 0.2}, path=CREATE, seed=5)
        answers = [create(sim, f"mix-{attempt}-{number}") for number in range(40)]
        sim.command("rest_clear")
        drawn.append([answer.text[:13] for answer in answers])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 3
    assert sim.get("/sim/orders").json()["placed_twice"] == []


def test_orders_of_many_threads_are_all_counted(sim: SimulatorProcess) -> None:
    """Fifty at once."""
    sim.command("limits", all=0, **{CREATE: 0})
    threads = [
        threading.Thread(target=lambda i=i: [create(sim, f"thread-{i}-{n}") for n in range(4)]) for i in range(50)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    order_counts = sim.get("/sim/orders", prefix="thread-").json()
    assert len(order_counts["placed"]) == len(order_counts["received"]) == 200


def test_klines_reach_back_for_years_without_a_hole(sim: SimulatorProcess) -> None:
    """Pages of a thousand join; each open is the close before it; a day is the sum of its minutes."""
    day_ms, start = 86_400_000, 1_672_531_200_000  # 2023-01-01
    rows: list[list[str]] = []
    while len(rows) < 1440:
        first = start + len(rows) * 60_000
        query = {"category": "spot", "symbol": "ETHUSDT", "interval": 1, "start": first, "end": start + day_ms - 1}
        page = sim.get("/v5/market/kline", **query, limit=1000).json()["result"]["list"]
        page = [row for row in page if int(row[0]) < first + 60_000_000]
        if int(page[-1][0]) != first:  # the newest thousand came first
            query["end"] = first + 999 * 60_000
            page = sim.get("/v5/market/kline", **query, limit=1000).json()["result"]["list"]
        rows += reversed(page)
    assert [int(row[0]) for row in rows] == [start + i * 60_000 for i in range(1440)]
    assert all(later[1] == earlier[4] for earlier, later in pairwise(rows))
    query = {"category": "spot", "symbol": "ETHUSDT", "interval": "D", "start": start, "end": start}
    ((_, o, h, low, c, volume, turnover),) = sim.get("/v5/market/kline", **query).json()["result"]["list"]
    assert (o, c) == (rows[0][1], rows[-1][4])
    assert float(h) == max(float(row[2]) for row in rows)
    assert float(low) == min(float(row[3]) for row in rows)
    assert float(volume) == pytest.approx(sum(float(row[5]) for row in rows))
    assert float(turnover) == pytest.approx(sum(float(row[6]) for row in rows))


def test_both_ports_speak_tls(tmp_path: Path) -> None:
    """With a certificate of the test's own authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for part in certificate.cert_chain_pems:
        part.write_to_path(tmp_path / "cert.pem", append=True)
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with SimulatorProcess(*files, "--symbols", "1", "--illiquid", "0") as sim:
        url = f"https://127.0.0.1:{sim.rest_port}/v5/market/time"
        assert requests.get(url, verify=str(tmp_path / "ca.pem"), timeout=5).json()["retCode"] == 0
        context = authority_context(authority)
        with connect(f"wss://127.0.0.1:{sim.ws_port}/v5/private", ssl=context, close_timeout=1) as socket:
            socket.send('{"op":"ping","req_id":"p"}')
            assert json.loads(socket.recv(timeout=30))["op"] == "pong"


def authority_context(authority: trustme.CA) -> Any:
    """A client's context that trusts the authority."""
    import ssl

    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
