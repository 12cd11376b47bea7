"""What comes at the worst moment: as a thread is about to sleep, and before others can see that it does."""

from collections.abc import Callable
from itertools import count

import pytest

from model.wake import WakeSignal

LOOK_S = 0.05


def put_before_each_sleep(
    monkeypatch: pytest.MonkeyPatch, put: Callable[[], object], waiting: Callable[[], int]
) -> list[int]:
    """Have `put` called every other time that the first signal is armed, just before; before that thread starts.

    Returns what `waiting()` was whenever the thread fell asleep, which is 0 where it arms the signal and then looks.
    """
    left: list[int] = []
    signals: list[WakeSignal] = []
    arm, wait, number = WakeSignal.arm, WakeSignal.wait, count()

    def late_arm(signal: WakeSignal) -> None:
        signals.append(signal)
        if signal is signals[0] and next(number) % 2:
            put()
        arm(signal)

    def recorded_wait(signal: WakeSignal, timeout_s: float) -> bool:
        if signal is signals[0]:
            left.append(waiting())
        return wait(signal, min(timeout_s, LOOK_S))

    monkeypatch.setattr(WakeSignal, "arm", late_arm)
    monkeypatch.setattr(WakeSignal, "wait", recorded_wait)
    return left
