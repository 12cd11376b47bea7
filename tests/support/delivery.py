"""How far a connection's data has come, in the test's hand."""


class FakeDelivery:
    """A `Delivery` whose watermark is `mark_ms`, or always now; it keeps what it is asked for and answers nothing."""

    def __init__(self, mark_ms: int = 0, *, is_always_proven: bool = False) -> None:
        self.mark_ms, self.is_always_proven = mark_ms, is_always_proven
        self.probed: list[int] = []
        self.recovered: list[str] = []

    def watermark_ms(self, now_ms: int) -> int:
        return now_ms if self.is_always_proven else self.mark_ms

    def probe(self, now_ms: int) -> None:
        self.probed.append(now_ms)

    def recover(self, symbol: str) -> None:
        self.recovered.append(symbol)
