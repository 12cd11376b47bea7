"""The simulated exchange as a process, for every test and demo that needs one."""

import json
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 20.0
ANSWER_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
STDERR_LINES_KEPT = 200


class SimulatorProcess:
    """`python -m exchanges.simulated` with the given arguments; a context manager.

    Ports are free ones unless given, and stay the same over `restart()`. `command` raises on a refused command.
    `root`: the tree whose simulated exchange it is.
    """

    def __init__(
        self, *args: object, exchange: str = "bybit", ws_port: int = 0, rest_port: int = 0, root: Path = ROOT
    ) -> None:
        self.exchange = exchange
        self._args = ["--exchange", exchange, *(str(arg) for arg in args)]
        self.ws_port, self.rest_port, self._root = ws_port, rest_port, root
        self.process: subprocess.Popen[str] | None = None
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES_KEPT)
        self._session = requests.Session()

    def start(self) -> Self:
        """Start and wait until it listens."""
        ports = ["--ws-port", str(self.ws_port), "--rest-port", str(self.rest_port)]
        self.process = process = subprocess.Popen(
            [sys.executable, "-m", "exchanges.simulated", *ports, *self._args],
            cwd=self._root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        watchdog = threading.Timer(START_LIMIT_S, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        watchdog.join()
        self._reader = threading.Thread(
            target=self.stderr.extend, args=(process.stderr,), name="simulator-stderr", daemon=True
        )
        self._reader.start()
        if not line:
            self._release()
            raise RuntimeError(f"the simulator did not start: {''.join(self.stderr)}")
        ports_taken = json.loads(line)
        self.ws_port, self.rest_port = ports_taken["ws_port"], ports_taken["rest_port"]
        return self

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        return self._release()

    def kill(self) -> None:
        """SIGKILL: the exchange is gone without a word."""
        if self.process is not None:
            self.process.kill()
            self._release()

    def restart(self) -> Self:
        """Kill it if it lives, start it again on the same ports."""
        self.kill()
        return self.start()

    def _release(self) -> int:
        assert self.process is not None
        code = self.process.wait(STOP_LIMIT_S)
        self._reader.join(STOP_LIMIT_S)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        self.process = None
        self._session.close()
        self._session = requests.Session()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._session.close()

    @property
    def pid(self) -> int:
        """Of the living process."""
        assert self.process is not None
        return self.process.pid

    @property
    def ws_base(self) -> str:
        """ws://host:port"""
        return f"ws://127.0.0.1:{self.ws_port}"

    def ws_url(self, category: str = "linear") -> str:
        """The whole public endpoint of one of Bybit's categories."""
        return f"{self.ws_base}/v5/public/{category}"

    @property
    def rest_url(self) -> str:
        """http://host:port"""
        return f"http://127.0.0.1:{self.rest_port}"

    def command(self, name: str, **body: Any) -> dict[str, Any]:
        """POST /sim/<name>."""
        answer = self._session.post(f"{self.rest_url}/sim/{name}", json=body, timeout=ANSWER_LIMIT_S)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def get(self, path: str, **query: Any) -> requests.Response:
        """GET any path, for example /v5/market/kline."""
        return self._session.get(self.rest_url + path, params=query, timeout=ANSWER_LIMIT_S)

    def stats(self) -> dict[str, Any]:
        """GET /sim/stats."""
        return dict(self.get("/sim/stats").json())

    def klines(self, symbol: str, interval: int | str, category: str = "linear", **bounds: int) -> list[dict[str, Any]]:
        """The true closed klines, oldest first; `interval` in milliseconds (or "M"), `start` and `end` in ms."""
        answer = self.get("/sim/klines", category=category, symbol=symbol, interval=interval, **bounds)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["list"])
