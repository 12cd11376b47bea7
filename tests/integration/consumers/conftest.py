"""A certificate of our own making, and Redis publishers that are always ended."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.redis import RedisOptions, RedisPublisher


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key; skips where there is no openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command")
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., RedisPublisher]]:
    """Start a publisher with the given options; ends it whatever happens. Comes back quickly, for the test's sake."""
    monkeypatch.setattr("consumers.redis.BACKOFF_CAP_S", 0.2)
    started: list[RedisPublisher] = []

    def start(url: str, **options: object) -> RedisPublisher:
        one = RedisPublisher(RedisOptions(url, **options))  # type: ignore[arg-type]
        started.append(one)
        one.start()
        return one

    yield start
    for one in started:
        one.begin_stop(time.monotonic() + 2)
        one.join(time.monotonic() + 4)
