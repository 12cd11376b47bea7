"""Who is measured: the collector as users run it, with and without klines, and a script in the seed's manner.

Knows how each is started and nothing of how it is measured.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.children import ROOT, Child

STATUS_INTERVAL_S = 2  # the collector says what it counted this often; a line costs it less than a millisecond
KLINE_INTERVALS = "1m,5m,15m,1h,4h,1D"


@dataclass(frozen=True)
class Contender:
    """One row of the table. `key` names it in the results file."""

    key: str
    label: str
    script: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def has_status(self) -> bool:
        """Whether it logs what it counted."""
        return self.script == "main.py"

    def but(self, **environment: str) -> "Contender":
        """The same with other settings."""
        return replace(self, environment={**self.environment, **environment})

    def start(self, folder: Path, ws_port: int, redis_port: int, symbols: Sequence[str]) -> Child:
        """A new process, told where the exchange and the server are; run from `folder`, where no .env lies."""
        folder.mkdir(parents=True, exist_ok=True)
        return Child(
            [str(ROOT / self.script)],
            folder / f"{self.key}.log",
            folder,
            BYBIT_WS_URL=f"ws://127.0.0.1:{ws_port}/v5/public/linear",
            REDIS_URL=f"redis://127.0.0.1:{redis_port}/0",
            SYMBOLS=",".join(symbols),
            **self.environment,
        )


COLLECTOR_SETTINGS = {
    "CHANNEL_TYPE": "linear",
    "SOCKET_POOL_SIZE": "1",  # one symbol and kind per stream, as the other contender
    "STATUS_INTERVAL": str(STATUS_INTERVAL_S),
    "KLINE_INTERVALS": KLINE_INTERVALS,
}
KLINES = Contender("klines", "collector, klines on", "main.py", COLLECTOR_SETTINGS)
RAW = Contender("raw", "collector, klines off", "main.py", {**COLLECTOR_SETTINGS, "ENABLE_KLINES_STREAM": "false"})
SEED = Contender("seed", "script in the seed's manner", "benchmarks/seed_manner.py")
CONTENDERS = (KLINES, RAW, SEED)


def last_status(log_path: Path) -> dict[str, Any]:
    """The newest status line of a collector's log; empty where there is none."""
    for line in reversed(log_path.read_text(errors="replace").splitlines()):
        if '"status"' in line:
            status = json.loads(line)
            if status.get("event") == "status":
                return dict(status)
    return {}
