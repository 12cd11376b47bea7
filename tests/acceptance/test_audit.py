"""The audit on demand over what a collector wrote: equal to the last digit, and a falsified line is found."""

import os
import re
import subprocess
import sys
from datetime import UTC, datetime

from tests.acceptance.harness import ROOT, CollectorProcess
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

COMPLETE = re.compile(rb'"interval":60000,[^}]*"complete":true')


def audit(path, *arguments, **settings):
    """Run `main.py audit`; exit code and what it wrote."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "audit", "--path", str(path), *arguments],
        cwd=path,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout + done.stderr


def test_files_equal_the_exchange_and_a_falsified_line_is_found(tmp_path):
    """The audit finds all files equal; with one value changed it names the kline and the field."""
    begin = datetime.now(UTC).isoformat(timespec="seconds")
    with SimulatorProcess("--rate", 400, "--symbols", 3, "--illiquid", 1) as sim:
        rest = {"BYBIT_REST_URL": sim.rest_url}
        settings = {
            "SYMBOLS": "BTCUSDT,ETHUSDT",
            "RAW_STREAMS": "trades",
            "KLINE_INTERVALS": "10s,1m",
            "ENABLED_CONSUMERS": "file",
            "BYBIT_WS_URL": sim.ws_url(),
            **rest,
        }

        def lines():
            return [line for path in tmp_path.rglob("*.jsonl") for line in path.read_bytes().splitlines()]

        with CollectorProcess(tmp_path, **settings) as collector:
            wait_until(lambda: sum(len(COMPLETE.findall(line)) for line in lines()) >= 2, 100, poll_s=0.2)
            assert collector.stop() == 0
        code, output = audit(tmp_path, "--from", begin[:16], **rest)
        assert (code, "all complete klines are equal" in output) == (0, True), output
        assert "klines of 10s not compared: the exchange has no such candles" in output

        path = next(path for path in tmp_path.rglob("*.jsonl") if COMPLETE.search(path.read_bytes()))
        found = COMPLETE.search(path.read_bytes())
        assert found
        false = re.sub(rb'("close":)[0-9.]+', rb"\g<1>123.456789", found[0])
        path.write_bytes(path.read_bytes().replace(found[0], false))
        code, output = audit(tmp_path, "--from", begin[:16], **rest)

        assert code == 1
        assert re.search(r"(BTC|ETH)USDT 1m .* revision \d+: close 123.456789, the exchange's [0-9.]+", output), output
        assert "NOT all are equal" in output
