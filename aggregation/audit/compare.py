"""A kline compared with the exchange's candle: which fields differ, and the figures over many. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from aggregation.klines.arithmetic import Arithmetic
from model.intervals import step_of
from model.records import Candle, Kline

FIELDS = ("open", "high", "low", "close", "volume", "turnover")
FIELDS_WITHOUT_OPEN = ("close", "volume", "turnover")  # with a KLINE_OPEN that is not the exchange's the others differ
VOLUME_ADVICE = "COUNT_BLOCK_TRADES and COUNT_RPI_TRADES say which trades count"


def compared_fields(arithmetic: Arithmetic) -> Sequence[str]:
    """The fields of a market's klines that can equal the exchange's candles."""
    fields = FIELDS if arithmetic.opens_as_exchange else FIELDS_WITHOUT_OPEN
    return tuple(name for name in fields if name != "turnover") if arithmetic.exchange_lacks_turnover else fields


def compare(kline: Kline, candle: Candle, fields: Sequence[str] = FIELDS) -> tuple[str, ...]:
    """The fields whose values are not exactly the same number; empty where all are."""
    return tuple(name for name in fields if getattr(kline, name) != getattr(candle, name))


def is_left_out(kline: Kline, arithmetic: Arithmetic) -> bool:
    """Whether the exchange has no candle of a kline because nothing was traded in it, or only when more is traded."""
    return arithmetic.exchange_lacks_quiet and not kline.volume


def served_step(kline: Kline, steps_ms: Collection[int]) -> int | None:
    """The step of a kline where the exchange serves such candles, None where it does not."""
    step_ms = step_of(kline.interval, kline.timestamp)
    return step_ms if step_ms in steps_ms else None


@dataclass
class Tally:
    """Results of comparing the klines of one interval."""

    compared: int = 0
    equal: int = 0
    missing: int = 0  # at the exchange, and not here
    unknown: int = 0  # here, and not at the exchange
    incomplete: int = 0  # marked so, and not compared
    fields: Counter[str] = field(default_factory=Counter)
    volume_above: int = 0  # ours is more than the exchange's
    volume_below: int = 0

    @property
    def different(self) -> int:
        """Klines with at least one field that differs."""
        return self.compared - self.equal

    def count(self, kline: Kline, candle: Candle, differing: Sequence[str]) -> None:
        """Count one comparison."""
        self.compared += 1
        self.equal += not differing
        self.fields.update(differing)
        self.volume_above += kline.volume > candle.volume
        self.volume_below += kline.volume < candle.volume

    def agree(self) -> None:
        """Count a kline without a trade, of an exchange that has no such candles."""
        self.compared += 1
        self.equal += 1

    def as_dict(self) -> dict[str, object]:
        """The figures by name, for a log line; fields that never differed are left out."""
        figures = {name: getattr(self, name) for name in ("compared", "equal", "different", "unknown")}
        return figures | {"fields": dict(self.fields)} if self.fields else figures


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of some results."""
    summed = Tally()
    for tally in tallies:
        for name, value in vars(tally).items():
            setattr(summed, name, getattr(summed, name) + value)
    return summed


def advice_on(tallies: Collection[Tally]) -> str | None:
    """Advice on a difference in volume: its likely cause; None where there is none.

    Which trades the exchange leaves out is not in a candle, so this is where to look and no verdict.
    """
    above, below = (sum(getattr(tally, name) for tally in tallies) for name in ("volume_above", "volume_below"))
    if not above + below:
        return None
    hints = [f"volume differs: ours is larger in {above} and smaller in {below}"]
    if above:
        hints.append("larger: the exchange may leave out trades that we count (set one of them to false)")
    if below:
        hints.append("smaller: it may count trades that we leave out (set to true), or trades were lost")
    return f"{'; '.join(hints)}. {VOLUME_ADVICE}."
