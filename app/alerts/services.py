"""The services that take alerts: an address that takes JSON, and what apprise knows. No text made here has a secret.

Their names are a scheme and, where that is a host and no token, the host. Calls block, each with a limit.
"""

import importlib.util
import logging
import re
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

from app.alerts.planner import Alert
from model.clock import iso_ms
from network.http import Session

REQUEST_LIMIT_S = 10.0  # name look-up, connect, TLS and answer together
INSTALL = "-m pip install -r requirements-alerts.txt"
QUIET_LIBRARIES = ("apprise", "oauthlib", "requests_oauthlib")  # their lines have addresses, answers and signatures
STATUS = re.compile(r"\berror[=: ]+([1-5]\d\d)\b")
APPRISE_HOSTS = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"})  # elsewhere a token stands there


class SendError(Exception):
    """A service did not take an alert; the text says why, without a secret."""


class AlertSink(Protocol):
    """The port that takes alerts."""

    name: str

    def send(self, alert: Alert, /) -> None:
        """Send one; raises SendError."""


@dataclass(frozen=True)
class ServiceOptions:
    """Where alerts go: `urls` of apprise, the address of a webhook."""

    exchange: str
    urls: tuple[str, ...] = field(default=(), repr=False)
    webhook: str | None = field(default=None, repr=False)


class Address:
    """A http or https address, requested by the collector's own HTTP session: proxies and certificates as for REST."""

    def __init__(self, url: str, name: str, stop: threading.Event) -> None:
        """`stop` ends a request on its way. CertificatesError as for REST."""
        parts = urlsplit(url)
        self.name = f"{name} {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self._url, self._session = url, Session(REQUEST_LIMIT_S, 1, stop)

    def request(self, method: str, body: object = None) -> None:
        """Request it; raises SendError where that is not answered with 2xx."""
        try:
            answer = self._session.request(method, self._url, json=body)
        except (requests.RequestException, OSError, ValueError) as error:
            raise SendError(reason_of(error)) from None
        if not 200 <= answer.status_code < 300:
            raise SendError(f"it answered {answer.status_code}")


class Webhook:
    """ALERT_WEBHOOK: each alert is one POST of JSON. `text` is the whole message, as Slack and others read it."""

    def __init__(self, url: str, exchange: str, stop: threading.Event) -> None:
        self._address, self._exchange = Address(url, "ALERT_WEBHOOK", stop), exchange
        self.name = self._address.name

    def send(self, alert: Alert) -> None:
        """Send one; raises SendError."""
        body = {
            "text": f"{alert.title}\n{alert.text}",
            "title": alert.title,
            "message": alert.text,
            "event": alert.event,
            "incident": alert.incident,
            "exchange": self._exchange,
            "time": iso_ms(alert.at_ms),
        }
        self._address.request("POST", body)


class AppriseService:
    """One URL of ALERT_URLS. Its plugin runs on the calling thread, with time-outs of its own."""

    def __init__(self, url: str, number: int) -> None:
        """`number` is its place in ALERT_URLS. ValueError where apprise does not understand the URL."""
        import apprise  # an extra, of 20 MB

        for name in QUIET_LIBRARIES:
            quiet = logging.getLogger(name)
            quiet.handlers, quiet.propagate = [logging.NullHandler()], False
        self._logger = logging.getLogger("apprise")
        scheme = url.partition("://")[0].lower()
        host = urlsplit(url).netloc.rpartition("@")[2] if scheme in APPRISE_HOSTS else ""
        self.name = f"ALERT_URLS {number} {scheme}://{host or '...'}"
        asset = apprise.AppriseAsset(  # without a time-out of its own it needs no pool, whose threads hold up an end
            app_id="Collector",
            app_desc="Market data",
            async_mode=False,
            service_timeout=0,
            allow_templates=False,
            http_redirects=False,
        )
        plugin = apprise.Apprise.instantiate(url, asset=asset)
        if plugin is None:
            raise ValueError(f"ALERT_URLS: apprise does not understand number {number}, {scheme}://...")
        self._apprise: Any = apprise.Apprise(plugin, asset=asset)
        self._text_format = apprise.NotifyFormat.TEXT
        kinds = apprise.NotifyType
        self._types = {"begin": kinds.FAILURE, "end": kinds.SUCCESS, "update": kinds.WARNING, "note": kinds.INFO}

    def send(self, alert: Alert) -> None:
        """Send one; raises SendError."""
        status = _Status()
        self._logger.addHandler(status)
        try:
            is_taken = self._apprise.notify(
                body=alert.text,
                title=alert.title,
                notify_type=self._types[alert.event],
                body_format=self._text_format,
            )
        except Exception as error:  # noqa: BLE001 - any of 130 plugins; its text may have the address
            raise SendError(type(error).__name__) from None
        finally:
            self._logger.removeHandler(status)
        if not is_taken:
            raise SendError(f"it answered {status.code}" if status.code else "it was not reached, or refused")


class _Status(logging.Handler):
    """Reads the status that a service answered out of apprise's lines of this thread; nothing else of them is kept."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.code: str | None = None
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line."""
        if record.thread == self._thread and (found := STATUS.search(record.getMessage())):
            self.code = found[1]


def build_services(options: ServiceOptions, stop: threading.Event) -> list[AlertSink]:
    """Return the services; ValueError with a line for each that cannot be."""
    problems: list[str] = []
    services: list[AlertSink] = []
    if options.urls and importlib.util.find_spec("apprise") is None:
        problems.append(f"ALERT_URLS: it needs apprise; run: {sys.executable} {INSTALL}")
    else:
        for number, url in enumerate(options.urls, 1):
            try:
                services.append(AppriseService(url, number))
            except ValueError as error:
                problems.append(str(error))
    if options.webhook:
        services.append(Webhook(options.webhook, options.exchange, stop))
    if problems:
        raise ValueError("\n".join(problems))
    return services


def reason_of(error: BaseException) -> str:
    """Why a request failed, in words that have nothing of its address in them but the host."""
    causes = list(_causes(error))
    if any(isinstance(each, requests.Timeout) for each in causes):
        return f"no answer within {REQUEST_LIMIT_S:g} s"
    for each in causes:
        if isinstance(each, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {each.verify_message}"
        if isinstance(each, ssl.SSLError):
            return "TLS fails"
        if isinstance(each, socket.gaierror):
            return "its name cannot be resolved"
    for each in causes:
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and what it came from, as urllib3 nests them."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
