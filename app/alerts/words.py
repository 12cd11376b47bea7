"""The sentences of alerts, for a person. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from app.alerts.losses import Cost, Lost
from app.alerts.outages import Subject

KINDS = {"orderbook": "order books", "ticker": "tickers"}  # others as they are called
DOWN = {  # of a state the name says it
    "stream": " down",
    "silence": " silent",
    "output": " down",
    "disk": " nearly full",
    "state": "",
}
UP = {"stream": "back", "silence": "back", "output": "back", "disk": "has space again", "state": "over"}
HOWS = {"ids": "by ids", "trades": "by the exchange's trades", "candle": "by the exchange's candles"}
NAMES_MOST = 10  # symbols that are named; of more the number
FIGURES = {  # of an output: one, several
    "lost": ("envelope lost", "envelopes lost"),
    "raw_dropped": ("raw message dropped", "raw messages dropped"),
    "klines_waiting": ("kline that waited is sent now", "klines that waited are sent now"),
}


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(texts: Iterable[str]) -> str:
    """Texts as a list in a sentence."""
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last


def names(symbols: Collection[str]) -> str:
    """Symbols by name, or how many more there are."""
    first = sorted(symbols)[:NAMES_MOST]
    more = len(symbols) - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more else "")


def time_of_day(at_ms: int, now_ms: int) -> str:
    """A time of day; with its date where that is another than today."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    is_today = at.date() == datetime.fromtimestamp(now_ms / 1000, UTC).date()
    return at.strftime("%H:%M:%S UTC" if is_today else "%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """A length of time in one or two units."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7_200:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days} d {hours} h" if days else f"{hours} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def symbols_of(subjects: Iterable[Subject]) -> frozenset[str]:
    """The symbols of several streams."""
    return frozenset[str]().union(*(each.symbols for each in subjects))


def label(subject: Subject) -> str:
    """What a subject is, without its symbols, within a sentence."""
    if subject.class_key:
        return KINDS.get(str(subject.kind), str(subject.kind))
    return {"stream": "stream {}", "output": "output {}", "disk": "disk of {}"}.get(subject.key.type, "{}").format(
        subject.key.name
    )


def capitalized(text: str) -> str:
    """A text with a large first letter."""
    return text[:1].upper() + text[1:]


def about(subjects: Sequence[Subject], exchange: str, total: int) -> str:
    """Whose data is down: the market of streams of one class, which has `total` symbols, and how many of them."""
    symbols = symbols_of(subjects)
    several = f"{len(symbols):,} of {count(total, 'symbol')}" if total > len(symbols) else count(total, "symbol")
    text = next(iter(symbols)) if len(symbols) == 1 == total else several
    return f" of {exchange} {subjects[0].market}" + (f" ({text})" if symbols else "")


def repaired(cost: Cost) -> str:
    """What an outage of trades cost."""
    hows = listed(HOWS[how] for how in cost.hows) if cost.hows else ""
    if not cost.candles:
        return f"repaired {hows}, nothing missing" if hows else "no candle incomplete"
    lost = listed(f"{count(number, 'candle')} of {interval}" for interval, number in cost.candles)
    stays = f"{lost} {'stay' if sum(number for _, number in cost.candles) > 1 else 'stays'} incomplete"
    return f"repaired {hows}, but {stays}" if hows else stays


def output_loss(figures: Mapping[str, int]) -> str:
    """What an output lost."""
    parts = [count(figures[name], *words) for name, words in FIGURES.items() if figures.get(name)]
    if not {"lost", "raw_dropped"} & {name for name in figures if figures[name]}:
        parts.insert(0, "nothing lost")
    return listed(parts)


def differing(counts: Mapping[str, int]) -> str:
    """What the audit found, by interval."""
    total = sum(counts.values())
    texts = listed(f"{number:,} of {interval}" for interval, number in counts.items())
    differ = "differs" if total == 1 else "differ"
    return f"{count(total, 'candle')} of the audit's sample {differ} from the exchange's: {texts}. The log has each."


def candles(lost: Sequence[Lost]) -> str:
    """Candles that stay incomplete."""
    by_interval: dict[str, int] = {}
    for each in lost:
        by_interval[each.window.name] = by_interval.get(each.window.name, 0) + len(each.symbols)
    total = sum(by_interval.values())
    texts = listed(f"{number:,} of {interval}" for interval, number in by_interval.items())
    symbols = frozenset[str]().union(*(each.symbols for each in lost))
    markets = listed(sorted({each.window.market for each in lost}))
    from_ms, until_ms = min(each.window.start_ms for each in lost), max(each.window.end_ms for each in lost)
    span = f"{time_of_day(from_ms, until_ms)} to {time_of_day(until_ms, until_ms)}"
    stay = "stays" if total == 1 else "stay"
    return f"{count(total, 'candle')} of {markets} {stay} incomplete: {texts}, from {span} ({names(symbols)})."
