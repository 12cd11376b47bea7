"""How often a request is sent again, and how long it may take in all. Pure."""

from dataclasses import dataclass

ATTEMPTS = 4  # of a read that fails at the server or on the way
BACKOFF_S = 0.3  # the first of the doubling, jittered waits
JITTER_FLOOR = 0.5  # of a wait's bound: an exchange in trouble gets some time at least
PERMIT_LIMIT_S = 60.0  # a call that would wait longer for its permit, refusals included, fails instead
SLICE_S = 0.5  # the longest single wait: meanwhile the breaker may open or the client may close


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a call is sent again and how long it may take in all."""

    attempts: int = ATTEMPTS
    refusals: int | None = None  # requests refused for their rate before a call fails; None: as `total_s` allows
    backoff_s: float = BACKOFF_S
    total_s: float = PERMIT_LIMIT_S
    windows: int = 2  # of its budget that a call may wait for beside `total_s`


READS = RetryPolicy(refusals=ATTEMPTS)
"""Of the collector's reads: one that is refused so often fails, and is left to its caller to repeat."""

CLIENTS = RetryPolicy(attempts=2, refusals=1, total_s=5.0, windows=0)
"""Of requests that are passed on for a client, which gives up after 10 s as a rule, and repeats them itself."""
