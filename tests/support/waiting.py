"""Waiting in tests: always for something, never for a length of time."""

import time
from collections.abc import Callable

LIMIT_S = 60.0  # never reached where the code is right, however busy the machine


def wait_until(predicate: Callable[[], object], limit_s: float = LIMIT_S, poll_s: float = 0.01) -> None:
    """Return when `predicate` is true; fail, naming it, when `limit_s` seconds have passed.

    What it looks up and does not find yet (the newest of no klines) is not there yet.
    """
    deadline = time.monotonic() + limit_s
    while True:
        missing: Exception | None = None
        try:
            if predicate():
                return
        except (LookupError, ValueError) as error:
            missing = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {limit_s} s: {predicate}") from missing
        time.sleep(poll_s)
