"""Selection of the symbols of a market without a list: the most traded. And names where no listing is known. Pure."""

from collections.abc import Collection, Iterable

from model.pairs import DOLLARS
from model.records import Instrument

ENDS = ("USDT", "USDC", "USD", "PERP")  # of symbols, where no listing is known
USUAL_QUOTE = {"inverse": "USD"}  # what a coin alone is quoted in; USDT elsewhere
STAY_SHARE = 1.2  # a followed symbol stays up to so many times the limit: two that change ranks daily do not flap
COME_SHARE = 0.8  # a symbol that reaches such a share of the limit takes the place of the last


def quote_of(market: str, quote: str | None) -> str:
    """The quote of a symbol that is named by its coin alone."""
    return quote or USUAL_QUOTE.get(market, "USDT")


def as_symbol(name: str, quote: str) -> str:
    """The symbol of a name where no listing is known: BTC is BTCUSDT, and BTCUSDT or BTC-26DEC25 is itself."""
    is_symbol = "-" in name or any(name.endswith(end) for end in (*ENDS, quote))
    return name if is_symbol and name not in (*DOLLARS, quote) else name + quote


def most_traded(
    listed: Iterable[Instrument], quote: str | None, limit: int | None, followed: Collection[str] = ()
) -> list[str]:
    """The symbols with the highest turnover, highest first; those `followed` have a little advantage."""
    offered = [each for each in listed if quote is None or each.quote == quote]
    ranked = [each.symbol for each in sorted(offered, key=lambda each: (-each.turnover, each.symbol))]
    if limit is None:
        return ranked
    staying = [symbol for symbol in ranked[: int(limit * STAY_SHARE)] if symbol in followed]
    chosen = set(list(dict.fromkeys((*ranked[: int(limit * COME_SHARE)], *staying, *ranked)))[:limit])
    return [symbol for symbol in ranked if symbol in chosen]


def is_plausible(new: Collection[str], old: Collection[str]) -> bool:
    """Whether an answer is plausible: a market that lost half of its symbols is half an answer."""
    return 2 * len(set(old) & set(new)) >= len(old) and len(new) > 0
