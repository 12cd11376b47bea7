"""What the reading library asks over HTTP: whole spans in parts, and a sentence for what cannot be read."""

import json

import pytest

from feed.api import Api
from feed.records import FeedError, Interval, NoHistoryError, UnknownSymbolError, UnreachableError, milliseconds
from tests.support.servers import Server, answer, answering, read_request

NO_STORE = {"error": "No klines are kept here: switch the store on with KLINE_STORE=true."}


def row(start: int) -> dict[str, object]:
    prices = dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), 1.5)
    return {"symbol": "BTCUSDT", "interval": 60_000, "timestamp": start, **prices} | {
        "trade_count": 1, "complete": True, "source": "trades", "revision": 0, "a_new_field": [1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        ("401 Unauthorized", "who are you", FeedError, "asks for the login"),
        ("503 Service Unavailable", json.dumps(NO_STORE), NoHistoryError, "KLINE_STORE=true.* live klines alone"),
        ("503 Service Unavailable", '{"error":"the disk is away"}', UnreachableError, "not now: the disk is away"),
        ("404 Not Found", '{"error":"X is none.","symbols":["XY"]}', UnknownSymbolError, "X is none. Did you mean XY"),
        ("404 Not Found", "Not found", FeedError, "status 404, Not found"),
        ("200 OK", "<html>", FeedError, "is no collector"),
        ("200 OK", '{"data":7}', FeedError, "is no collector"),
    ],
)
def test_what_is_refused_is_told_in_a_sentence(status, body, kind, text):
    with Server(answering(answer(body.encode(), status))) as server, pytest.raises(kind, match=text):
        Api(f"http://127.0.0.1:{server.port}").klines("X", Interval("1m"), last=1)


def test_a_connection_that_ends_in_the_middle_is_an_outage():
    """Of a collector that is killed while it answers: live klines wait for it to come back."""
    cut = Server(lambda sock: (read_request(sock), sock.sendall(answer(b"{}" * 99)[:-50])))
    with cut as server, pytest.raises(UnreachableError, match="No collector answers"):
        Api(f"http://127.0.0.1:{server.port}").klines("X", Interval("1m"), last=1)


def test_many_of_the_newest_are_read_backwards_in_parts():
    """The parts are asked for by their ends, and are returned oldest first; fields that come to be are left out."""
    asked = []

    def talk(sock):
        line = read_request(sock).split(b"\r\n")[0].decode()
        query = dict(part.split("=") for part in line.split()[1].partition("?")[2].split("&"))
        asked.append(query)
        end, count = int(query.get("end", 2_500)), int(query["last"])
        rows = [row(start) for start in range(max(end - count, 0), end)]
        body = {"exchange": "bybit", "channel": "linear", "data_type": "klines", "data": rows, "next": None}
        sock.sendall(answer(json.dumps(body).encode()))

    with Server(talk) as server:
        klines, _ = Api(f"http://127.0.0.1:{server.port}").klines("BTCUSDT", Interval("1m"), last=3_000)
    assert [each.timestamp for each in klines] == list(range(2_500))
    assert [query.get("end") for query in asked] == [None, "1500", "500"]


def test_an_address_that_is_none_is_refused():
    for url in ("localhost:9500", "file:///etc/passwd", "http://"):
        with pytest.raises(FeedError, match="is no HTTP address"):
            Api(url)


def test_a_login_may_stand_in_the_address():
    """It is sent, and never shown."""
    api = Api("http://bot:s%40crt@127.0.0.1:1")
    assert api.headers == Api("http://127.0.0.1:1", "bot", "s@crt").headers
    with pytest.raises(UnreachableError) as error:
        api.about()
    assert "crt" not in str(error.value)


def test_times_are_utc_where_they_name_no_zone():
    assert milliseconds("2026-01-01") == milliseconds("2026-01-01T01:00+01:00") == 1_767_225_600_000
    assert milliseconds(5) == 5
    with pytest.raises(FeedError, match="is no time"):
        milliseconds("yesterday")
