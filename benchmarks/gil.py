"""Who holds the GIL when a message waits: `python -m benchmarks.gil [--rate 30000] [--tls] [--save NAME]`.

The collector under the path's load of 400 symbols, 16 connections and 12 intervals. A thread of this process looks ten
thousand times a second who holds the collector's GIL (`gil_reader.py`), and at a hold over half a millisecond where its
thread is. The collector is not stopped, not changed, and runs no line of this. Ends with 1 where a message is lost.
"""

import argparse
import contextlib
import ctypes
import itertools
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import hour
from benchmarks.ages import HEAD, timeline
from benchmarks.children import BENCH_PYTHON, ROOT, Child, make_certificate
from benchmarks.contenders import KLINES, KLINES_TLS, Contender
from benchmarks.gil_reader import GilReader, Holder, discover, place_of
from benchmarks.harness import Harness, Sample, ages_of, counted, measure_load, note_counters, open_harness, running
from benchmarks.path import LAYOUTS, Layout, load_name
from benchmarks.report import Section, as_markdown, save, table, today

PERIOD_S = 0.0001  # between two looks
HOLD_S = 0.0005  # shorter holds are not written down one by one
LOOK_AGAIN_S = 0.0005  # between two looks at the stack within a hold
BLIND_S = 0.0004  # a longer pause between two looks is one in which this thread did not run
LATE_MS = 2.0  # a message that waited longer is late
LISTED = 40  # of the longest holds, and of owners
PR_SET_TIMERSLACK = 29
NOBODY = "nobody (waiting for the sockets, or for a core)"
COUNTED = (
    "holds", "ms in all", "of them waiting for a core", "longest ms", "0.5 to 1 ms", "1 to 2", "2 to 5", "over 5",
)  # fmt: skip
LINES = 4  # of an owner
Frame = tuple[str, str, int]
Stack = list[Frame]


@dataclass
class Hold:
    """One hold; times in seconds since the epoch. Another thread's turn ends it, and so does a look that finds none.

    `waited_ns`: the kernel's counts of how long the thread has waited for a core, at the first look at its stack and
    at the end.
    """

    begin_s: float
    holder: Holder
    end_s: float
    thread: int = 0
    stacks: list[Stack] = field(default_factory=list)
    looks_collecting: int = 0
    waited_ns: list[int] = field(default_factory=list)

    @property
    def ms(self) -> float:
        """How long it took."""
        return (self.end_s - self.begin_s) * 1e3

    @property
    def core_ms(self) -> float:
        """How much of it the thread waited for a core."""
        return min((self.waited_ns[-1] - self.waited_ns[0]) / 1e6, self.ms) if self.waited_ns else 0.0


class Owner(NamedTuple):
    """Whose hold it is: the thread's name without numbers, its innermost function of this project, and the lines."""

    thread: str
    function: str
    line: str


class Sampler:
    """Looks at a process's GIL on a thread of its own until `stop`."""

    def __init__(self, pid: int, reader: GilReader) -> None:
        self._pid, self._reader = pid, reader
        self.times_us, self.states = array("q"), array("Q")
        self.holds: list[Hold] = []
        self.blind_s = 0.0
        self.threads: dict[int, int] = {}  # the kernel's ids by state
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gil-sampler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)  # else the kernel wakes it 50 us later than asked
        hold: Hold | None = None
        last_s, looked_s = time.time(), 0.0
        while not self._stop.is_set():
            holder, now_s = self._reader.holder(), time.time()
            self.blind_s += now_s - last_s if now_s - last_s > BLIND_S else 0.0
            self.times_us.append(int(now_s * 1e6))
            self.states.append(holder.state if holder else 0)
            if hold is not None and holder != hold.holder:
                self._keep(hold)
                hold = None
            if holder is not None:
                if hold is None:
                    hold, looked_s = Hold(now_s, holder, now_s), now_s
                hold.end_s = now_s
                if now_s - looked_s >= LOOK_AGAIN_S:
                    looked_s = now_s
                    self._look(hold)
            last_s = now_s
            time.sleep(PERIOD_S)
        if hold is not None:
            self._keep(hold)

    def _look(self, hold: Hold) -> None:
        """Keep the stack, if the thread holds the GIL still when it has been read."""
        stack, is_collecting = self._reader.stack(hold.holder.state), self._reader.is_collecting()
        if self._reader.holder() == hold.holder:
            hold.stacks.append(stack)
            hold.looks_collecting += is_collecting
        if len(hold.stacks) == 1:
            self._note_waited(hold)

    def _note_waited(self, hold: Hold) -> None:
        """Note how long the thread has waited for a core since it began."""
        hold.thread = hold.thread or self._reader.native_id(hold.holder.state)
        with contextlib.suppress(OSError):  # the thread has ended
            text = Path(f"/proc/{self._pid}/task/{hold.thread}/schedstat").read_text()
            hold.waited_ns.append(int(text.split()[1]))

    def _keep(self, hold: Hold) -> None:
        if hold.holder.state not in self.threads:
            self.threads[hold.holder.state] = self._reader.native_id(hold.holder.state)
        if hold.end_s - hold.begin_s >= HOLD_S:
            hold.thread = self.threads[hold.holder.state]
            self._note_waited(hold)
            self.holds.append(hold)

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join(5)


def names_of(pid: int) -> dict[int, str]:
    """The names of a process's threads by the kernel's ids, from py-spy; empty where it is not there."""
    program = BENCH_PYTHON.parent / "py-spy"
    if not program.exists():
        return {}
    command = [str(program), "dump", "--pid", str(pid), "--json", "--nonblocking"]
    answer = subprocess.run(command, capture_output=True, check=False, timeout=30)
    return {one["os_thread_id"]: one["thread_name"] for one in json.loads(answer.stdout or "[]")}


def name_of(thread: int, names: Mapping[int, str]) -> str:
    """A thread's name without numbers: those of one kind are one owner."""
    return re.sub(r"[-_ ]*\d+", "", names.get(thread, "")) or f"thread {thread}"


def owner_of(hold: Hold, names: Mapping[int, str]) -> Owner:
    """Whose a hold is, by what most looks at its stack found."""
    name = name_of(hold.thread, names)
    stacks = [stack for stack in hold.stacks if stack]
    if not stacks:
        return Owner(name, "ended before its stack was read", "")
    if hold.looks_collecting * 2 > len(stacks):
        name = f"{name}, garbage collector"
    (frame, inner), _ = Counter((own_frame(stack), stack[0]) for stack in stacks).most_common(1)[0]
    place = place_of(*frame)
    line = str(place.line) if frame == inner else f"{place.line} in {inner[1]}"
    return Owner(name, f"{place.function} ({short(place.file)})", line)


def own_frame(stack: Stack) -> Frame:
    """The innermost frame of this project; the innermost of all where there is none."""
    return next((one for one in stack if one[0].startswith(f"{ROOT}/") and "/.venv" not in one[0]), stack[0])


def short(file: str) -> str:
    """A file's name from the project's root, or from where libraries are."""
    return re.sub(r".*/(?:site-packages|lib/python[\d.]+)/", "", file.removeprefix(f"{ROOT}/"))


def while_late(
    sampler: Sampler, names: Mapping[int, str], sent_us: "np.ndarray[Any, Any]", ages_us: "np.ndarray[Any, Any]"
) -> dict[str, float]:
    """The share of the time that late messages waited in which each thread had the GIL, by its name."""
    late = ages_us > LATE_MS * 1000
    begin = np.searchsorted(np.array(sampler.times_us), sent_us[late])
    end = np.searchsorted(np.array(sampler.times_us), sent_us[late] + ages_us[late])
    states = np.array(sampler.states)
    total, found = int((end - begin).sum()), defaultdict[str, float](float)
    for state in np.unique(states):
        sums = np.concatenate(([0], np.cumsum(states == state)))
        name = name_of(sampler.threads.get(int(state), 0), names) if state else NOBODY
        found[name] += float((sums[end] - sums[begin]).sum()) / max(total, 1)
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def measure_holds(
    folder: Path, layout: Layout, rate: int, seconds: float, *, is_tls: bool, is_hour: bool = False
) -> Section:
    """One collector under the load; `is_hour`: that of the part hour, over the boundary."""
    certificate = make_certificate(folder / "certificate.pem") if is_tls else None
    contender = (KLINES_TLS if is_tls else KLINES).but(**layout.settings)
    exchange = hour.EXCHANGE if is_hour else layout.exchange
    where = discover()
    with ExitStack() as stack:
        this = stack.enter_context(open_harness(folder, *exchange, certificate=certificate))
        end_s, contender = hour.await_start(contender) if is_hour else (0, contender)
        process = stack.enter_context(running(this, folder, contender, this.ready["topics"]))
        sampler = Sampler(process.pid, GilReader(process.pid, where))
        try:
            if is_hour:
                sample = hour.load_over(this, process, contender, end_s)
            else:
                sample = load_for(this, process, contender, rate, seconds)
        finally:
            sampler.stop()
        this.subscriber.ask(30, do="timeline", path=str(folder / "ages.npy"))
        names = names_of(process.pid)
    sent_us, ages_us = timeline(folder / "ages.npy")
    if is_hour:
        what = f"an hour's end, at second {end_s - sent_us.min() / 1e6:.1f}, of {hour.SYMBOLS} symbols"
    else:
        what = f"{layout.name}, {seconds:g} s"
    what = f"{load_name(sample.rate)}, {what}, klines at {contender.environment['KLINE_INTERVALS']}"
    return section(sampler, names, sample, sent_us, ages_us, what)


def load_for(harness: Harness, process: Child, own: Contender, rate: int, seconds: float) -> Sample:
    """The path's load for so long."""
    before = counted(process)
    sample = measure_load(harness, process, own, rate, seconds, is_kept=True)
    note_counters(counted(process), before, [sample])
    return sample


def section(
    sampler: Sampler,
    names: Mapping[int, str],
    sample: Sample,
    sent_us: "np.ndarray[Any, Any]",
    ages_us: "np.ndarray[Any, Any]",
    what: str,
) -> Section:
    """Owners, the longest holds, and who had the GIL while messages were late."""
    begin_us, end_us = int(sent_us.min()), int((sent_us + ages_us).max())
    owned = [(h, owner_of(h, names)) for h in sampler.holds if begin_us <= h.begin_s * 1e6 <= end_us]
    by_thread, by_owner = defaultdict[str, list[Hold]](list), defaultdict[tuple[str, str], list[Hold]](list)
    lines = defaultdict[tuple[str, str], Counter[str]](Counter)
    for hold, owner in owned:
        by_thread[owner.thread].append(hold)
        by_owner[owner[:2]].append(hold)
        lines[owner[:2]][owner.line] += 1
    late = int((ages_us > LATE_MS * 1000).sum())
    shares = while_late(sampler, names, sent_us, ages_us)
    ages = ", ".join(f"{name[:-3]} {age} ms" for name, age in zip(HEAD, ages_of(sample), strict=True))
    longest = sorted(owned, key=lambda one: -one[0].ms)[:LISTED]
    parts = [
        f"{what}. {sample.cpu_us:.2f} us a message; ages {ages}, most {sample.most_ms:.2f} ms; {sample.lost} of "
        f"{sample.sent:,} lost. {len(sampler.times_us):,} looks; "
        f"the sampler itself did not run for {sampler.blind_s * 1e3:.0f} ms, in pauses over {BLIND_S * 1e3:g} ms.",
        "A hold: every look found the GIL held, and no other thread had it in between; where no other waits for it, it "
        "may have been given back and taken again between two looks. Waiting for a core: the thread held it, and the "
        f"kernel had another on the core (from {HOLD_S * 1e3:g} ms on). {len(owned)} holds over {HOLD_S * 1e3:g} ms.",
        "### By thread",
        table(("thread", *COUNTED), [(name, *_sums(each)) for name, each in _sorted(by_thread)]),
        "### By owner",
        table(
            ("thread", "innermost function of this project", "lines (holds)", *COUNTED),
            [(*key, _most(lines[key]), *_sums(each)) for key, each in _sorted(by_owner)[:LISTED]],
            texts=3,
        ),
        "### While messages were late",
        f"{late:,} messages were older than {LATE_MS:g} ms ({late / max(len(ages_us), 1):.2%}). While they waited, the "
        "GIL was held by:",
        table(("thread", "share of the time"), [(name, f"{share:.1%}") for name, share in shares.items()]),
        f"### The longest {len(longest)}",
        table(
            ("thread", "function", "line", "ms", "of them waiting for a core", "at second"),
            [(*own, f"{h.ms:.2f}", f"{h.core_ms:.2f}", f"{h.begin_s - begin_us / 1e6:.3f}") for h, own in longest],
            texts=3,
        ),
    ]
    problems = [f"lost {sample.lost}, {sample.notes}, same {sample.is_unaltered}"] if sample.is_wrong() else []
    holds = [[*owner, round(hold.ms, 3), round(hold.core_ms, 3), hold.begin_s] for hold, owner in owned]
    return Section(
        "Who holds the GIL", "\n\n".join(parts), {"sample": asdict(sample), "holds": holds, "late": shares}, problems
    )


def _sorted(found: Mapping[Any, list[Hold]]) -> list[tuple[Any, list[Hold]]]:
    return sorted(found.items(), key=lambda one: -sum(hold.ms for hold in one[1]))


def _sums(holds: Sequence[Hold]) -> tuple[str, ...]:
    counts = [
        sum(low <= hold.ms < high for hold in holds) for low, high in itertools.pairwise((0.0, 1.0, 2.0, 5.0, 1e9))
    ]
    sums = (sum(hold.ms for hold in holds), sum(hold.core_ms for hold in holds), max(hold.ms for hold in holds))
    return (str(len(holds)), *(f"{ms:.1f}" for ms in sums), *map(str, counts))


def _most(lines: Counter[str]) -> str:
    return ", ".join(f"{line} ({count})" for line, count in lines.most_common(LINES))


def main() -> int:
    """Run, print the tables, keep them where that was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gil", description=__doc__)
    parser.add_argument("--rate", type=int, default=30_000, help="messages a second; 0 is a flood")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--symbols", type=int, choices=[one.symbols for one in LAYOUTS], default=400)
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--hour", action="store_true", help="over an hour's end, as the part hour makes it")
    parser.add_argument("--save", metavar="NAME", help="write results/<date>-NAME.md and .json")
    options = parser.parse_args()
    layout = next(one for one in LAYOUTS if one.symbols == options.symbols)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        found = measure_holds(
            Path(folder), layout, options.rate, options.seconds, is_tls=options.tls, is_hour=options.hour
        )
    command = f"python -m benchmarks.gil {' '.join(sys.argv[1:])}".strip()
    print(as_markdown([found], command, today()))
    if options.save:
        print(f"saved {save([found], command, options.save).name}")
    return int(bool(found.problems))


if __name__ == "__main__":
    sys.exit(main())
