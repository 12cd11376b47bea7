"""`python main.py 2>&1 | something that does not read`."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from tests.acceptance.harness import ROOT, Subscriber
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

PIPE_BYTES = 4096  # the smallest there is: three status lines
F_SETPIPE_SZ: int = getattr(fcntl, "F_SETPIPE_SZ", 0)


@pytest.mark.skipif(not F_SETPIPE_SZ, reason="pipes have one size here")
def test_a_log_that_nobody_reads_delays_no_payload_and_no_stop(tmp_path, valkey):
    """Streams, klines and the stop go on while not one line more fits into the pipe."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
    with SimulatorProcess("--rate", "500", "--symbols", "2") as sim, Subscriber(valkey.port) as subscriber:
        settings = {"SYMBOLS": "BTCUSDT,ETHUSDT", "REDIS_PORT": str(valkey.port), "KLINE_INTERVALS": "1s"}
        settings |= {"BYBIT_WS_URL": sim.ws_url("linear"), "STATUS_INTERVAL": "0.05", "PYTHONUNBUFFERED": ""}
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "main.py")],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
            stdout=writing,
            stderr=writing,
        )
        os.close(writing)
        try:
            wait_until(lambda: len(subscriber.klines()) >= 10)  # 5 s, 20 status lines
            sent = sum(subscriber.counts().values())
            wait_until(lambda: sum(subscriber.counts().values()) > sent + 500)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert b'"ended"' not in os.read(reading, 2 * PIPE_BYTES)  # the pipe was full
        finally:
            process.kill()
            process.wait(10)
            os.close(reading)
