"""The simulated exchange of a venue as a process of its own, started by name; nothing of it is imported.

Main thread.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from exchanges.conformance.report import Failed, NotRun
from exchanges.contract import Endpoints, Venue
from model.pacing import SlidingWindow

CONNECT_WAIT_S = 0.05
START_LIMIT_S, STOP_LIMIT_S, ANSWER_LIMIT_S = 30.0, 5.0, 20.0
NO_SUCH_EXCHANGE = "argument --exchange: invalid choice"


@dataclass(frozen=True)
class Simulated:
    """A running simulated exchange. `markets`: the symbols that each market lists. `headers`: of each handshake."""

    ws_url: str
    rest_url: str
    markets: Mapping[str, Sequence[str]]
    connects: SlidingWindow
    headers: Mapping[str, str]

    @property
    def endpoints(self) -> Endpoints:
        """Where a venue finds it."""
        return Endpoints(ws_url=self.ws_url, rest_url=self.rest_url)

    def wait_to_connect(self) -> None:
        """Wait until the declared budget allows one more connect."""
        while not self.connects.take(time.monotonic()):
            time.sleep(CONNECT_WAIT_S)

    def command(self, name: str, **body: object) -> None:
        """Have it do something; Failed where it refuses."""
        answer = requests.post(f"{self.rest_url}/sim/{name}", json=body, timeout=ANSWER_LIMIT_S)
        if answer.status_code != 200:
            raise Failed(f"the simulated exchange refuses {name} {body}: {answer.text}")

    def candles(self, market: str, symbol: str, step_ms: int) -> list[Mapping[str, Any]]:
        """The true closed candles, oldest first."""
        return list(_ask(self.rest_url, "klines", category=market, symbol=symbol, interval=step_ms)["list"])


@contextmanager
def simulated(venue: Venue, *options: object) -> Iterator[Simulated]:
    """Start the simulated exchange of a venue, and stop it; NotRun where there is none."""
    command = [sys.executable, "-m", "exchanges.simulated", "--exchange", venue.name, *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - our own program
    assert process.stdout is not None
    assert process.stderr is not None
    watchdog = threading.Timer(START_LIMIT_S, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            error = process.stderr.read()
            if NO_SUCH_EXCHANGE in error:
                raise NotRun(f"there is no exchanges/simulated/{venue.name}/")
            raise Failed(f"the simulated exchange does not start: {error.strip()[-500:]}")
        ports = json.loads(line)
        ws_url, rest_url = (
            f"{scheme}://127.0.0.1:{ports[port]}" for scheme, port in (("ws", "ws_port"), ("http", "rest_port"))
        )
        listed = {market: _ask(rest_url, "symbols", category=market).get("list", ()) for market in venue.markets}
        yield Simulated(
            ws_url,
            rest_url,
            {market: symbols for market, symbols in listed.items() if symbols},
            SlidingWindow(venue.connects.most, venue.connects.per_s),
            venue.connects.headers,
        )
    finally:
        watchdog.cancel()
        process.terminate()
        try:
            process.communicate(timeout=STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _ask(rest_url: str, question: str, **query: object) -> Mapping[str, Any]:
    """What it answers; nothing where it refuses, for example a market that it does not have."""
    answer = requests.get(
        f"{rest_url}/sim/{question}", params={k: str(v) for k, v in query.items()}, timeout=ANSWER_LIMIT_S
    )
    found: Mapping[str, Any] = answer.json() if answer.status_code == 200 else {}
    return found
