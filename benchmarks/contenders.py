"""The contenders: the collector as users run it, and what people use instead.

Holds how each is started; harness.py measures.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.children import BENCH_PYTHON, ROOT, Child, has_package
from benchmarks.floor_plan import plan_of
from benchmarks.pool import KINDS

STATUS_INTERVAL_S = 2  # the period of the collector's status line; a line costs it less than a millisecond
KLINE_INTERVALS = "1m,5m,15m,1h,4h,1D"


@dataclass(frozen=True)
class Contender:
    """One row of the table. `key` names it in the results file."""

    key: str
    label: str
    script: str
    environment: dict[str, str] = field(default_factory=dict)
    is_tls: bool = False
    is_checked: bool = True
    """Whether it must publish every payload, unaltered."""
    kinds: tuple[str, ...] = KINDS
    package: str = ""
    """What it needs of .venv-bench, in whose environment it then runs."""
    floor_connections: int = 1
    """Over how many connections the floor has its topics."""

    @property
    def is_collector(self) -> bool:
        """Whether it is the collector, which logs its counters."""
        return self.script in ("main.py", "benchmarks/whole_market.py")

    @property
    def is_floor(self) -> bool:
        """Whether it is the floor, which reads any exchange of floor_plan.MARKS."""
        return self.script == "benchmarks/floor.py"

    @property
    def is_there(self) -> bool:
        """Whether it can be started here."""
        return (ROOT / self.script).exists() and (not self.package or has_package(self.package))

    def but(self, **environment: str) -> "Contender":
        """A copy with other settings."""
        return replace(self, environment={**self.environment, **environment})

    def start(
        self, folder: Path, ready: Mapping[str, Any], redis_port: int, symbols: Sequence[str], certificate: Path | None
    ) -> Child:
        """Start a process with the addresses of exchange and server; run from `folder`, where no .env lies.

        `ready` has the exchange's `port`, and `tls_port` for those who use TLS.
        """
        folder.mkdir(parents=True, exist_ok=True)
        address = f"wss://127.0.0.1:{ready['tls_port']}" if self.is_tls else f"ws://127.0.0.1:{ready['port']}"
        environment = {
            "PYTHONPATH": str(ROOT),
            **(
                {"WS_URL": address}
                if "EXCHANGE" in self.environment
                else {"BYBIT_WS_URL": f"{address}/v5/public/linear"}
            ),
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "SYMBOLS": ",".join(symbols),
            **({"SSL_CERT_FILE": f"{certificate}.crt"} if self.is_tls else {}),
            **self.environment,
        }
        if self.is_floor:
            plan = folder / f"{self.key}.json"
            plan.write_text(json.dumps(plan_of(ready["exchange"], symbols, self.floor_connections)))
            environment |= {"FLOOR_PLAN": str(plan), "FLOOR_URL": f"{address}/v5/public/linear"}
        return Child(
            ["-P", str(ROOT / self.script)],  # not with the script's folder first, where exchanges.py is a benchmark
            folder / f"{self.key}.log",
            folder,
            str(BENCH_PYTHON) if self.package else sys.executable,
            **environment,
        )


COLLECTOR_SETTINGS = {
    "CHANNEL_TYPE": "linear",
    "SOCKET_POOL_SIZE": "1",  # one symbol and kind per stream, as the other contenders
    "STATUS_INTERVAL": str(STATUS_INTERVAL_S),
    "KLINE_INTERVALS": KLINE_INTERVALS,
}
KLINES = Contender("klines", "collector, klines on", "main.py", COLLECTOR_SETTINGS)
KLINES_TLS = replace(KLINES, key="klines-tls", label="collector, klines on, TLS", is_tls=True)
RAW = replace(KLINES.but(ENABLE_KLINES_STREAM="false"), key="raw", label="collector, klines off")
SCRIPT = Contender("script", "a script on pybit", "benchmarks/pybit_script.py", is_checked=False)
FLOOR = Contender("floor", "floor: picows loop, PUBLISH, no klines", "benchmarks/floor.py", package="picows")
FLOOR_TLS = replace(FLOOR, key="floor-tls", label="floor, TLS", is_tls=True)
CRYPTOFEED = Contender(
    "cryptofeed",
    "cryptofeed to Redis, no liquidations",
    "benchmarks/cryptofeed_redis.py",
    is_checked=False,
    kinds=("trades", "orderbook", "ticker"),
    package="cryptofeed",
)
CONTENDERS = (KLINES, KLINES_TLS, RAW, SCRIPT, CRYPTOFEED, FLOOR, FLOOR_TLS)


def last_status(log_path: Path) -> dict[str, Any]:
    """The newest status line of a collector's log; empty where there is none."""
    for line in reversed(log_path.read_text(errors="replace").splitlines()):
        if '"status"' in line:
            status = json.loads(line)
            if status.get("event") == "status":
                return dict(status)
    return {}
