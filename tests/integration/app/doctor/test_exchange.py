"""The doctor against a simulated exchange, and what its faults look like."""

import pytest

from app.doctor.findings import State
from main import handle_trades, subscribe_trades
from tests.support.servers import Server
from tests.support.simulator import SimulatorProcess

EXCHANGES = {
    "binance": ("linear,inverse,spot", "inverse"),
    "bingx": ("linear,spot", "linear"),
    "bitget": ("linear,spot", "linear"),
    "gate": ("linear,spot", "linear"),
    "kucoin": ("linear,spot", "linear"),
    "okx": ("linear,inverse,spot", "inverse"),
}


@pytest.fixture(scope="module")
def sim():
    """A simulated Bybit."""
    with SimulatorProcess("--rate", 200, "--symbols", 3, "--categories", "linear,spot") as process:
        yield process


@pytest.fixture
def healthy(sim):
    """The same without any fault, before and after."""
    yield sim
    for command, body in (
        ("rest_clear", {}),
        ("ratelimit", {"s": 0}),
        ("ban", {"s": 0}),
        ("allow", {}),
        ("clock", {"shift_ms": 0}),
    ):
        sim.command(command, **body)


@pytest.fixture
def look(examine, valkey, hosts):
    """Run every check against a simulated exchange."""

    def run(process, **settings):
        urls = {"WS_URL": f"ws://{hosts}:{process.ws_port}", "REST_URL": f"http://{hosts}:{process.rest_port}"}
        own = {**urls, "REDIS_PORT": valkey.port, "SYMBOLS": "BTC"}
        return examine(EXCHANGE=process.exchange, **own | settings)

    return run


def test_all_is_green_where_all_is_well(healthy, look):
    """Both markets of Bybit, every check, and nothing failed."""
    found = look(healthy, ENABLE_SPOT_STREAM="true", SYMBOLS="BTCUSDT,eth")
    assert set(found.states().values()) == {State.OK}, found
    assert found.code == 0
    assert {"settings", "REST linear", "REST spot", "clock", "symbols", "stream linear orderbook", "Redis"} <= set(
        found
    )


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_all_is_green_at_every_exchange(look, exchange):
    """Each by its own streams, tokens and names; a connection for each of its endpoints."""
    categories, market = EXCHANGES[exchange]
    with SimulatorProcess("--rate", 300, "--symbols", 2, "--categories", categories, exchange=exchange) as process:
        found = look(process, CHANNEL_TYPE=market, ENABLE_SPOT_STREAM="true")
    assert set(found.states().values()) == {State.OK}, found
    assert sum(name.startswith("stream ") for name in found) >= 2


def test_certificates_are_checked_on_each_way(look, certificate, monkeypatch):
    """Trusted, all is green; of an authority that nobody knows, REST and streams are skipped."""
    cert, key = certificate
    with SimulatorProcess("--rate", 100, "--symbols", 1, "--tls-cert", cert, "--tls-key", key) as process:
        urls = {"WS_URL": f"wss://127.0.0.1:{process.ws_port}", "REST_URL": f"https://127.0.0.1:{process.rest_port}"}
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        trusted = look(process, **urls)
        monkeypatch.setenv("SSL_CERT_FILE", "")
        unknown = look(process, **urls)
    ways = [f"TLS 127.0.0.1:{port}" for port in (process.ws_port, process.rest_port)]
    assert set(trusted.states().values()) == {State.OK}, trusted
    assert list(unknown.failed()) == ways
    assert all("is not trusted" in text for text in unknown.failed().values())
    assert unknown["stream linear orderbook"][0].text == f"{ways[0]} failed"
    assert unknown.code == 3


@pytest.mark.parametrize(
    ("status", "words", "cure"),
    [
        (403, "HTTP 403", "proxy"),
        (451, "HTTP 451", "proxy"),
        (429, "HTTP 429", "fewer collectors"),
        (503, "503", "wait"),
    ],
)
def test_what_rest_refuses_is_a_red_line_with_its_status(healthy, look, status, words, cure):
    """What depends on it is skipped, and the streams are tried all the same."""
    healthy.command("rest_fault", what="http", status=status, count=None, retry_after=77)
    found = look(healthy)
    assert words in found.failed()["REST linear"]
    assert cure in found.cure("REST linear")
    assert found.states()["clock"] is found.states()["symbols"] is State.SKIPPED
    assert found["clock"][0].text == "REST linear failed"
    assert found.states()["stream linear orderbook"] is State.OK
    assert found.code == 3


def test_a_ban_says_for_how_long(healthy, look):
    """As the exchange's Retry-After does."""
    healthy.command("rest_fault", what="http", status=418, count=None, retry_after=300)
    assert "5 min" in look(healthy).failed()["REST linear"]


def test_a_rate_that_is_refused_for_a_while_is_told_as_such(healthy, look):
    """The wait for the next attempt outlives the check."""
    healthy.command("rest_fault", what="http", status=429, count=None, retry_after=30)
    assert "HTTP 429" in look(healthy).failed()["REST linear"]


def test_a_rest_that_says_nothing_ends_in_time(healthy, look):
    """It accepts the request."""
    healthy.command("rest_fault", what="hang", count=None)
    found = look(healthy)
    assert "does not answer" in found.failed()["REST linear"]


def test_a_stream_that_is_refused_is_a_red_line(healthy, look):
    """The handshake is answered with 403, while REST works."""
    healthy.command("ban", s=60)
    found = look(healthy)
    assert "HTTP 403" in found.failed()["stream linear orderbook"]
    assert found.states()["REST linear"] is State.OK
    assert found.code == 3


@pytest.mark.parametrize(
    ("fault", "words"), [({"what": "hang"}, "does not answer"), ({"what": "http", "status": 451}, "HTTP 451")]
)
def test_a_token_that_is_not_given_is_a_red_line_of_the_stream(look, fault, words):
    """KuCoin gives one for each connection; the rest of its REST works."""
    with SimulatorProcess("--rate", 100, "--symbols", 1, "--categories", "linear", exchange="kucoin") as process:
        process.command("rest_fault", path="/api/v1/bullet-public", count=None, **fault)
        found = look(process)
    assert list(found.failed()) == ["stream linear orderbook"]
    assert words in found.failed()["stream linear orderbook"]


def test_a_topic_that_is_refused_is_a_red_line(healthy, look):
    """With the exchange's own words."""
    healthy.command("refuse", topics=["orderbook.50.BTCUSDT"])
    found = look(healthy)
    assert "the exchange refuses orderbook.50.BTCUSDT" in found.failed()["stream linear orderbook"]
    assert found.code == 2


@pytest.mark.parametrize(("shift_ms", "words"), [(5_000, "behind the exchange's"), (-5_000, "ahead of the exchange's")])
def test_a_clock_that_is_off_is_a_red_line(healthy, look, shift_ms, words):
    """By REST, as the collector measures it."""
    healthy.command("clock", shift_ms=shift_ms)
    found = look(healthy)
    assert words in found.failed()["clock"]
    assert "5.0 s" in found.failed()["clock"]
    assert found.code == 2


def test_symbols_that_are_not_listed_name_the_nearest(healthy, look):
    """Of the settings, and of entries of STREAMS."""
    entry = {"name": "mine", "func": subscribe_trades, "args": ("ETHUSDX", handle_trades)}
    found = look(healthy, streams=[entry], SYMBOLS="BTCUSDT,BTCUSDX")
    texts = found.failed()["symbols"]
    assert "not listed: BTCUSDX (nearest: BTCUSDT)" in texts
    assert "not listed in the linear market: ETHUSDX (nearest: ETHUSDT)" in texts
    assert found.states()["stream linear orderbook"] is State.OK
    assert found.code == 2


def test_a_whole_market_is_counted(healthy, look):
    """Its connections are held against the limit of open files."""
    found = look(healthy, LOAD_ALL_SYMBOLS="true", SOCKET_POOL_SIZE=1, RAW_STREAMS="trades,orderbook")
    assert found["symbols"][0].text.startswith("linear: ")
    assert "6 connections" in found["open files"][0].text


def test_wrong_settings_are_named_and_the_rest_is_checked(healthy, look):
    """Each by its name; what they leave sound is used."""
    found = look(healthy, KLINE_INTERVALS="7x", WEBSOCKET_PORT="many", RAW_STREAMS="trades")
    assert [each.text.partition("=")[0] for each in found["settings"]] == ["KLINE_INTERVALS", "WEBSOCKET_PORT"]
    assert found.states()["stream linear trades"] is State.OK
    assert found.states()["open files"] is State.OK
    assert found.code == 2


def test_an_exchange_that_the_settings_cannot_name_is_skipped(examine, valkey):
    """There is nothing to ask; this machine is looked at all the same."""
    found = examine(EXCHANGE="okx", WEBSOCKET_PORT="many", HTTPS_PROXY="ftp://x", REDIS_PORT=valkey.port)
    assert found["exchange"][0].text == "settings failed"
    assert found["open files"][0].text == "settings failed"
    assert [name for name in found if name.startswith(("TLS", "stream", "REST"))] == []
    assert found.states()["Redis"] is State.OK
    assert "HTTPS_PROXY" in found.failed()["settings"]


def test_a_black_hole_in_the_place_of_the_exchange_ends_in_time(look, healthy):
    """Red where it is not answered, skipped behind; Redis and the disk are looked at."""
    with Server(lambda sock: sock.recv(1) and sock.recv(1 << 20)) as hole:
        url = f"127.0.0.1:{hole.port}"
        found = look(healthy, WS_URL=f"wss://{url}", REST_URL=f"https://{url}", limit_s=8.0)
    assert list(found.failed()) == [f"TLS {url}"]
    assert found.states()["REST linear"] is found.states()["stream linear orderbook"] is State.SKIPPED
    assert found.states()["Redis"] is State.OK
