"""consumers.web.http and access: paths, answers and names of hosts, without a socket."""

import json

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from consumers.web.access import host_name, is_upgrade
from consumers.web.http import HttpAnswer, HttpRequest, Route, route_of


def route(name):
    return Route(lambda _request: HttpAnswer.text(200, name))


ROUTES = {"/": route("root"), "/livez": route("livez"), "/page/": route("page"), "/page/vendor/": route("vendor")}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", "/"),
        ("/livez", "/livez"),
        ("/page/", "/page/"),
        ("/page/page.js", "/page/"),
        ("/page/vendor/a.js", "/page/vendor/"),
        ("/livez/", None),
        ("/livezz", None),
        ("/page", None),
        ("/nothing", None),
        ("", None),
    ],
)
def test_a_path_is_answered_by_its_own_route_or_its_longest_prefix(path, found):
    """/ is no prefix: what is unknown is not the page."""
    assert route_of(ROUTES, path) is (ROUTES[found] if found else None)


def test_a_request_has_a_decoded_path_its_query_and_headers_by_small_names():
    """Of a name that comes twice the last value counts; a header that comes twice is one list."""
    headers = Headers([("Host", "a"), ("Accept", "x"), ("Accept", "y")])
    request = HttpRequest.of(Request("/a%20b?symbol=BTC%2FUSDT&x=1&x=2&empty", headers))
    assert (request.path, request.query) == ("/a b", {"symbol": "BTC/USDT", "x": "2", "empty": ""})
    assert request.headers == {"host": "a", "accept": "x, y"}


def test_a_query_of_too_many_fields_is_refused():
    """It takes time and memory, and nothing here has so many."""
    with pytest.raises(ValueError, match="fields"):
        HttpRequest.of(Request(f"/?{'&'.join(f'a{n}=1' for n in range(100))}", Headers()))


def test_every_answer_has_the_headers_that_protect_a_browser():
    """Unless it has its own, as the page has for its policy and its cache."""
    plain = HttpAnswer.json(503, {"ready": False}).response()
    assert (plain.status_code, plain.reason_phrase) == (503, "Service Unavailable")
    assert json.loads(plain.body) == {"ready": False}
    assert plain.headers["Content-Length"] == str(len(plain.body))
    assert plain.headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in plain.headers["Content-Security-Policy"]
    own = HttpAnswer(200, b"x", headers={"Cache-Control": "max-age=60"}).response()
    assert own.headers.get_all("Cache-Control") == ["max-age=60"]
    assert (own.body, own.headers["Content-Length"]) == (b"x", "1")


@pytest.mark.parametrize(
    ("header", "name"),
    [("localhost:9500", "localhost"), ("[::1]:9500", "::1"), ("Example.com", "example.com"), ("", ""), ("[", "")],
)
def test_the_name_of_a_host_header(header, name):
    """Without its port; what is no host has none."""
    assert host_name(header) == name


def test_a_websocket_is_told_from_a_page():
    """Both may ask for /."""
    assert is_upgrade(Request("/", Headers({"Upgrade": "WebSocket"})))
    assert not is_upgrade(Request("/", Headers()))
