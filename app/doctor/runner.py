"""Runs checks at once, each on a daemon thread `doctor-<name>`, under one deadline that no check can hold up."""

import threading
import time
from collections.abc import Iterator, Sequence

from app.doctor.findings import Check, Finding, State, unreachable


class Runner:
    """Runs checks, which stand behind those they need or wait for."""

    def __init__(self, checks: Sequence[Check], limit_s: float) -> None:
        self._limit_s = limit_s
        self._running = {check: _Running(check) for check in checks}

    def results(self) -> Iterator[tuple[str, Sequence[Finding]]]:
        """Start all, and yield what each found, in the order of the list, as soon as it and those before have ended."""
        until_s = time.monotonic() + self._limit_s
        for running in self._running.values():
            thread = threading.Thread(
                target=self._run, args=(running,), name=f"doctor-{running.check.name}", daemon=True
            )
            thread.start()
        for running in self._running.values():
            running.ended.wait(max(0.0, until_s - time.monotonic()))
            if not running.ended.is_set():
                self._give_up(running)
            yield running.check.name, running.findings

    def _run(self, running: "_Running") -> None:
        check = running.check
        for each in (*check.needs, *check.after):
            self._running[each].ended.wait()
        if (reason := self._reason_to_skip(check)) is not None:
            running.settle([Finding(State.SKIPPED, reason)])
            return
        running.begun_s = time.monotonic()
        try:
            found = check.run()
        except Exception as error:  # noqa: BLE001 - the outermost of a thread: a mistake of ours must not hide the others
            text = f"the check itself failed: {type(error).__name__}: {error}"
            found = unreachable(text, "report it, with this line")
        running.settle([found] if isinstance(found, Finding) else list(found))

    def _give_up(self, running: "_Running") -> None:
        """Settle a check that has not ended; what it waits for is settled, for it stands before."""
        if running.begun_s is None:
            reason = self._reason_to_skip(running.check) or "what it waits for took too long"
            running.settle([Finding(State.SKIPPED, reason)])
        else:
            silent_s = time.monotonic() - running.begun_s
            running.settle([unreachable(f"no answer within {max(1.0, silent_s):.0f} s", running.check.cure)])

    def _reason_to_skip(self, check: Check) -> str | None:
        """Why a check cannot be run, by the first of what it needs that did not pass; None where it can."""
        for need in check.needs:
            for finding in self._running[need].findings:
                if finding.state is State.SKIPPED:
                    return finding.text
                if not finding.is_passed:
                    return f"{need.name} failed"
        return None


class _Running:
    """A check on its way. What is settled first stays."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.ended = threading.Event()
        self.begun_s: float | None = None
        self.findings: Sequence[Finding] = ()
        self._lock = threading.Lock()

    def settle(self, findings: Sequence[Finding]) -> None:
        with self._lock:
            if not self.ended.is_set():
                self.findings = findings
                self.ended.set()
