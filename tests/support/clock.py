"""Time in tests: it stands until a test moves it."""


class FakeClock:
    """A monotonic clock in seconds; `now_s` is set by hand."""

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s
