"""What a plain start imports: each module costs every start time and every collector memory."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
IMPORT_LIMIT_S = 60
BUILD = """
import sys
from app import startup
startup.begin()
import main
startup.imported()
from app.collector import Collector
from conf.settings import load_settings
Collector(load_settings({}, None), main.STREAMS, main.SUBSCRIBE)
print(*sys.modules)
"""
NEEDED = {"numpy", "redis", "requests", "exchanges.bybit.rest", "aggregation.aggregator", "consumers.web.server"}
NOT_NEEDED = {
    "pybit": "orders and the API client alone",
    "Crypto": "what pybit signs with",
    "pandas": "an extra",
    "pyarrow": "an extra",
    "apprise": "an extra",
    "prometheus_client": "the first scrape",
    "argparse": "a command line with arguments",
    "http.server": "a test",
    "unittest": "a test",
    "multiprocessing": "nothing",
    "app.arguments": "a command line with arguments",
    "app.relay": "a relay",
    "app.watch": "a command",
    "app.doctor": "a command",
    "app.schema": "a command",
    "app.alerts.service": "alerts that are set",
    "aggregation.audit.cli": "a command",
    "exchanges.bybit.client.engine": "the API client",
    "exchanges.binance": "another exchange",
    "exchanges.okx": "another exchange",
}


def test_a_plain_start_imports_nothing_that_only_others_need() -> None:
    """Late imports stand in the function that needs them; one import at the top of a module would undo them."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=IMPORT_LIMIT_S
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    modules = set(done.stdout.split())

    assert modules >= NEEDED  # it is a start that was looked at
    assert {module for module in modules if any(f"{module}.".startswith(f"{each}.") for each in NOT_NEEDED)} == set()
