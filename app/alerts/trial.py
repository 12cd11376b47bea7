"""`python main.py alert-test`: one message to each service, and whether it was taken."""

import functools
import sys
import threading
import time
from collections.abc import Callable

from app.alerts.build import service_options
from app.alerts.planner import Alert
from app.alerts.services import Address, SendError, build_services
from app.exits import Exit
from app.process import exit_with_settings_error
from conf.settings import Settings, load_settings
from model.clock import now_ms

NOTHING = "ALERT_URLS, ALERT_WEBHOOK and ALERT_HEARTBEAT_URL are not set: nobody would be told of anything"
TEXT = "A test: alerts of this collector reach you. Nothing is wrong."


def send_test(settings: Settings | None = None) -> int:
    """Send a message to each service, one after the other; the exit code: 3 where one did not take it."""
    try:
        settings = settings or load_settings()
        services = build_services(service_options(settings), threading.Event())
        url = settings.alert_heartbeat_url
        address = Address(url.get_secret_value(), "ALERT_HEARTBEAT_URL", threading.Event()) if url else None
        if not services and address is None:
            raise ValueError(NOTHING)  # noqa: TRY301 - a wrong setting like the others
    except ValueError as error:
        return exit_with_settings_error(error)
    alert = Alert("note", f"{settings.exchange}: alert-test", TEXT, now_ms())
    calls: list[tuple[str, Callable[[], object]]] = [
        (service.name, functools.partial(service.send, alert)) for service in services
    ]
    if address:
        calls.append((address.name, functools.partial(address.request, "GET")))
    failed = 0
    for name, call in calls:
        begin_s = time.monotonic()
        try:
            call()
            result = f"taken after {time.monotonic() - begin_s:.1f} s"
        except SendError as error:
            result = f"NOT taken: {error}"
            failed += 1
        sys.stdout.write(f"{name}: {result}\n")
        sys.stdout.flush()
    return int(Exit.OUTPUT_UNREACHABLE if failed else Exit.ASKED)
