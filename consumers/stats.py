"""The figures that every output has in common.

Pure; read from any thread, a moment old.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConsumerStats:
    """Counts since the start, in envelopes (redis: in messages). `lag_s` is the age of the oldest waiting."""

    queued: int = 0
    delivered: int = 0
    dropped: int = 0
    errors: int = 0
    lag_s: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)
