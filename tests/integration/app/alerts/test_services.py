"""Services that take alerts, over real sockets: what they get, how they fail, and that no text has their secrets."""

import logging
import socket
import ssl
import threading
import time

import pytest
import requests
from structlog.testing import capture_logs

from app.alerts.heartbeat import Heartbeat
from app.alerts.planner import Alert
from app.alerts.sender import Sender
from app.alerts.services import Address, SendError, ServiceOptions, Webhook, build_services, reason_of
from tests.support.inbox import Inbox
from tests.support.servers import Proxy, Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # of apprise's import
ALERT = Alert("begin", "bybit linear: Trades down", "Trades of bybit linear down.", 1_795_176_000_000, 7)


@pytest.fixture
def inbox():
    with Inbox() as running:
        yield running


def service(url: str, *, is_webhook: bool, stop: threading.Event | None = None):
    """The one service of a setting."""
    options = ServiceOptions("bybit", () if is_webhook else (url,), url if is_webhook else None)
    (found,) = build_services(options, stop or threading.Event())
    return found


def test_a_webhook_gets_json_with_a_text_and_the_number_of_the_incident(inbox):
    service(f"http://me:p%40ss@127.0.0.1:{inbox.port}/a?b=c", is_webhook=True).send(ALERT)
    (received,) = inbox.received
    assert (received.method, received.path, received.login) == ("POST", "/a?b=c", "me:p@ss")
    assert received.body == {
        "text": "bybit linear: Trades down\nTrades of bybit linear down.",
        "title": "bybit linear: Trades down",
        "message": "Trades of bybit linear down.",
        "event": "begin",
        "incident": 7,
        "exchange": "bybit",
        "time": "2026-11-20T12:00:00.000Z",
    }


def test_apprise_gets_title_text_and_type_on_the_calling_thread(inbox):
    found = service(f"json://127.0.0.1:{inbox.port}/a", is_webhook=False)
    threads = threading.active_count()
    found.send(ALERT)
    assert threading.active_count() <= threads + 1, "the server's own; apprise's pool would hold up the end"
    (body,) = inbox.of("/a")
    assert (body["title"], body["message"], body["type"]) == (ALERT.title, ALERT.text, "failure")


def test_a_reason_with_angle_brackets_is_text_to_a_service_that_takes_html(inbox):
    """Telegram would refuse it."""
    found = service(f"json://127.0.0.1:{inbox.port}/a?format=html", is_webhook=False)
    found.send(Alert("begin", "title", "down (<urllib3 object> & more) {{ not a template }}", 0))
    assert inbox.of("/a")[0]["message"].replace("&nbsp;", " ") == (
        "down (&lt;urllib3 object&gt; &amp; more) {{ not a template }}"
    )


@pytest.mark.parametrize("is_webhook", [True, False])
@pytest.mark.parametrize("status", [302, 403, 500])
def test_what_is_not_taken_is_an_error_without_the_address(inbox, is_webhook, status):
    """A redirect is not followed: the address would go to somebody else."""
    inbox.status = status
    found = service(f"{'http' if is_webhook else 'json'}://127.0.0.1:{inbox.port}/s3cret", is_webhook=is_webhook)
    with pytest.raises(SendError) as raised:
        found.send(ALERT)
    assert str(raised.value) == f"it answered {status}"
    assert "s3cret" not in f"{raised.value!r} {found.name} {raised.value.__cause__}"
    assert raised.value.__suppress_context__ or raised.value.__context__ is None, "nor in a traceback"
    assert len(inbox.received) == 1


def test_a_webhook_that_is_not_reached_says_why(free_port):
    for url, problem in (
        (f"http://127.0.0.1:{free_port}/s3cret", "Connection refused"),
        ("http://no-such-host.invalid/s3cret", "its name cannot be resolved"),
    ):
        with pytest.raises(SendError, match=problem):
            service(url, is_webhook=True).send(ALERT)


def test_a_stop_ends_a_request_that_nobody_answers():
    stop = threading.Event()
    with Server(lambda sock: sock.recv(1) and server.over.wait()) as server:
        found = service(f"http://127.0.0.1:{server.port}/s3cret", is_webhook=True, stop=stop)
        threading.Timer(0.2, stop.set).start()
        begin_s = time.monotonic()
        with pytest.raises(SendError, match="no answer"):
            found.send(ALERT)
        assert time.monotonic() - begin_s < 5


def test_the_proxy_of_the_environment_is_used(inbox, monkeypatch):
    with Proxy("http") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        service(f"http://hook.example:{inbox.port}/a", is_webhook=True).send(ALERT)
        service(f"json://hook.example:{inbox.port}/b", is_webhook=False).send(ALERT)
        assert proxy.requested == [("hook.example", inbox.port)] * 2


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (requests.ConnectionError("HTTPSConnectionPool: /services/s3cret"), "ConnectionError"),
        (requests.ReadTimeout("/s3cret"), "no answer within 10 s"),
        (requests.ConnectionError(socket.gaierror(-2, "Name or service not known")), "its name cannot be resolved"),
        (requests.exceptions.SSLError(ssl.SSLError(1, "s3cret")), "TLS fails"),
        (requests.ConnectionError(OSError(111, "Connection refused")), "Connection refused"),
    ],
)
def test_an_error_is_told_in_words_that_have_no_secret(error, text):
    assert reason_of(error) == text


def test_the_name_of_a_service_has_no_token_where_others_have_a_host():
    """tgram://<token>/<chat>: the token stands where the host is elsewhere."""
    (found,) = build_services(
        ServiceOptions("bybit", ("tgram://123456789:abcdefghijklmnopqrstuvwxyzABCDEFGHI/12315544/",)), threading.Event()
    )
    assert found.name == "ALERT_URLS 1 tgram://..."


def test_services_that_cannot_be_are_named_by_their_number():
    options = ServiceOptions("bybit", ("nosuch://s3cret", "json://localhost", "tgram://s3cret"))
    with pytest.raises(ValueError, match="number 1") as raised:
        build_services(options, threading.Event())
    assert [line.partition(",")[0] for line in str(raised.value).splitlines()] == [
        "ALERT_URLS: apprise does not understand number 1",
        "ALERT_URLS: apprise does not understand number 3",
    ]
    assert "s3cret" not in f"{raised.value} {options!r}"


def test_without_apprise_the_command_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"-m pip install -r requirements-alerts.txt"):
        build_services(ServiceOptions("bybit", ("json://localhost",)), threading.Event())


def test_apprise_logs_nothing(inbox, caplog):
    """Its lines have addresses, and what was answered."""
    caplog.set_level(logging.DEBUG, "apprise")
    inbox.status = 500
    with pytest.raises(SendError):
        service(f"json://127.0.0.1:{inbox.port}/s3cret", is_webhook=False).send(ALERT)
    assert "s3cret" not in caplog.text


def test_a_heartbeat_is_sent_while_ready_and_not_else(inbox):
    is_ready = True
    heartbeat = Heartbeat(f"http://127.0.0.1:{inbox.port}/ping", lambda: is_ready, every_s=0.02)
    heartbeat.start()
    try:
        wait_until(lambda: len(inbox.received) > 2)
        is_ready = False
        beats: list[int] = []
        wait_until(lambda: beats.append(len(inbox.received)) or beats[-5:].count(beats[-1]) == 5, poll_s=0.05)
        is_ready = True
        wait_until(lambda: len(inbox.received) > beats[-1])
        inbox.status = 500
        with capture_logs() as logs:
            wait_until(lambda: heartbeat.failed > 2)
        assert [entry["event"] for entry in logs] == ["heartbeat_failed"], "once a minute"
        assert "ping" not in str(logs)
    finally:
        assert heartbeat.stop(time.monotonic() + 5)


class Unsteady:
    """A service in the test's hand."""

    name = "unsteady"

    def __init__(self) -> None:
        self.is_down = False
        self.taken: list[Alert] = []
        self.tries = 0

    def send(self, alert: Alert) -> None:
        self.tries += 1
        if self.is_down:
            raise SendError("down")
        self.taken.append(alert)


def alerts(count: int) -> list[Alert]:
    """Alerts that can be told apart."""
    return [Alert("note", "title", str(number), 0) for number in range(count)]


def test_what_a_service_does_not_take_is_tried_again_in_order_and_the_others_have_theirs_at_once():
    dead, alive = Unsteady(), Unsteady()
    dead.is_down = True
    sender = Sender([dead, alive])
    sender.start()
    with capture_logs() as logs:
        for alert in alerts(3):
            sender.put(alert)
        wait_until(lambda: len(alive.taken) == 3 and dead.tries)
        dead.is_down = False
        wait_until(lambda: len(dead.taken) == 3)
        sender.begin_stop()
        assert sender.join(time.monotonic() + 5)
    assert [alert.text for alert in dead.taken] == ["0", "1", "2"]
    assert [entry["event"] for entry in logs] == ["alert_service_down", "alert_service_up"]
    assert sender.stats()["sent"] == 6


def test_a_service_with_a_mistake_in_it_is_tried_again_after_a_pause_and_holds_up_no_other():
    """Its own words may have its address, and are not logged."""

    class Wrong(Unsteady):
        def send(self, alert: Alert) -> None:
            self.tries += 1
            raise RuntimeError("https://example.com/s3cret")

    wrong, alive = Wrong(), Unsteady()
    sender = Sender([wrong, alive])
    sender.start()
    with capture_logs() as logs:
        for alert in alerts(3):
            sender.put(alert)
        wait_until(lambda: len(alive.taken) == 3)
        sender.begin_stop()
        assert sender.join(time.monotonic() + 5)
    assert wrong.tries <= 3, "at once, and at the end"
    assert [(entry["event"], entry["error"]) for entry in logs[:1]] == [("alert_service_down", "RuntimeError")]


def test_a_queue_that_is_full_drops_the_oldest_and_counts():
    dead = Unsteady()
    sender = Sender([dead])
    for alert in alerts(150):
        sender.put(alert)
    sender.start()
    sender.begin_stop()
    assert sender.join(time.monotonic() + 5)
    assert [alert.text for alert in dead.taken] == [str(number) for number in range(50, 150)]
    assert sender.stats()["dropped"] == 50


def test_a_stop_sends_what_waits_once_more_and_says_what_is_left():
    dead = Unsteady()
    dead.is_down = True
    sender = Sender([dead])
    sender.start()
    sender.put(ALERT)
    wait_until(lambda: dead.tries == 1)
    with capture_logs() as logs:
        sender.begin_stop()
        assert sender.join(time.monotonic() + 5)
    assert dead.tries == 2
    assert [entry["count"] for entry in logs if entry["event"] == "alerts_unsent"] == [1]


def test_a_stop_does_not_wait_for_a_service_that_hangs():
    stop = threading.Event()
    with Server(lambda sock: sock.recv(1) and server.over.wait()) as server:
        sender = Sender([Webhook(f"http://127.0.0.1:{server.port}/s3cret", "bybit", stop)])
        sender.start()
        sender.put(ALERT)
        wait_until(lambda: server.connections)
        begin_s = time.monotonic()
        sender.begin_stop()
        with capture_logs():
            assert not sender.join(begin_s + 0.3)
        assert time.monotonic() - begin_s < 3
        stop.set()
        wait_until(lambda: not sender.threads()[0].is_alive())


def test_an_address_is_shown_by_scheme_and_host_alone():
    address = Address("https://user:s3cret@host.example:8443/s3cret?s3cret", "ALERT_WEBHOOK", threading.Event())
    assert address.name == "ALERT_WEBHOOK https://host.example:8443"
