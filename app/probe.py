"""`python -m app.probe`: asks the collector of these settings on this machine whether it lives; a HEALTHCHECK.

The exit code is /livez's, for a restart is what follows where it is 1, and that cures nothing which only /readyz
complains of: an exchange or a Redis that is away. What that says is printed all the same, for `docker inspect`.
"""

import contextlib
import functools
import http.client
import ssl
import sys
from collections.abc import Callable

from app.printed import printing
from conf.settings import Settings, load_settings

LIMIT_S = 5.0
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked, not bound


def main() -> int:
    """Print what the collector answers; 0 where it lives, or has no web server to ask."""
    settings = load_settings()
    if not settings.enable_web:
        sys.stdout.write("ENABLE_WEB=false: there is nothing to ask\n")
        return 0
    try:
        status, _ = ask(settings, "/livez")
        _, said = ask(settings, "/readyz")
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer on port {settings.websocket_port}: {error}\n")
        return 1
    sys.stdout.write(said)
    return int(status != http.client.OK)


def ask(settings: Settings, path: str) -> tuple[int, str]:
    """Return status and text of a path; the certificate is not verified, for it names another host."""
    host = EVERY_ADDRESS.get(settings.websocket_host, settings.websocket_host)
    connect: Callable[..., http.client.HTTPConnection] = http.client.HTTPConnection
    if settings.websocket_tls_cert:
        unverified = ssl._create_unverified_context()  # noqa: S323 - our own server, on this machine
        connect = functools.partial(http.client.HTTPSConnection, context=unverified)
    with contextlib.closing(connect(host, settings.websocket_port, timeout=LIMIT_S)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


if __name__ == "__main__":
    raise SystemExit(printing(main))
