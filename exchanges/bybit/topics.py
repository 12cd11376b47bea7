"""Which topics a request means, and in which batches they are subscribed. Pure.

Limits from the docs' ws/connect page; topic names themselves come from pybit (feed.py).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from model.records import StreamLimits
from model.symbols import canonical, is_symbol, read_symbol

MARKETS = ("linear", "inverse", "spot", "option")
DEPTHS = {"linear": (1, 50, 200, 1000), "inverse": (1, 50, 200, 1000), "spot": (1, 50, 200, 1000), "option": (25, 100)}

SPOT_BATCH = 10  # args per subscribe message, spot (docs: ws/connect)
BATCH = 200  # elsewhere there is no such limit; a refusal costs the whole batch, so not all at once
MAX_CHARACTERS = 21_000  # of all args of one connection (docs: ws/connect)
CHARACTERS_PER_ARG = 3  # two quotes and a comma: the docs do not say whether they count, so they do

TOPIC_KINDS = {
    "trades": "publicTrade.",
    "orderbook": "orderbook.",
    "ticker": "tickers.",
    "liquidations": "allLiquidation.",
    "topics": "",
}

# Kinds of topic that end in a symbol; "system.status" does not.
NAMED = frozenset({"publicTrade", "orderbook", "tickers", "allLiquidation", "liquidation", "kline", "priceLimit"})
_HEAD = re.compile(r"[A-Za-z_]+(\.[A-Za-z0-9_-]+)*")  # of a topic, before its last part


def check_market(market: str) -> None:
    """ValueError where Bybit has no such market."""
    if market not in MARKETS:
        raise ValueError(f"market is {market!r}, must be one of {', '.join(MARKETS)}")


def check_request(market: str, kind: str, symbols: str | Sequence[str], depth: int) -> list[str]:
    """The symbols of a request as a list without repeats; ValueError where Bybit has no such stream."""
    check_market(market)
    if kind not in TOPIC_KINDS:
        raise ValueError(f"kind is {kind!r}, must be one of {', '.join(TOPIC_KINDS)}")
    if kind == "topics":
        return check_topics(symbols)
    if kind == "liquidations" and market not in ("linear", "inverse"):
        raise ValueError(f"Bybit has no liquidations for {market}, only for linear and inverse")
    if kind == "orderbook" and (type(depth) is not int or depth not in DEPTHS[market]):  # True is in (1, 50)
        raise ValueError(f"orderbook depth is {depth!r}, {market} has {', '.join(map(str, DEPTHS[market]))}")
    return check_symbols(symbols)


def check_topics(topics: str | Sequence[str]) -> list[str]:
    """One topic or several as a list without repeats; which exist is for the exchange to say."""
    return _each("topic", topics, _topic, "kline.5.BTCUSDT")


def check_symbols(symbols: str | Sequence[str]) -> list[str]:
    """One symbol or several as the exchange writes them, as a list without repeats, in the order given."""
    return _each("symbol", symbols, read_symbol, "BTCUSDT")


def _each(what: str, given: str | Sequence[str], read: Callable[[object], str], example: str) -> list[str]:
    is_readable = isinstance(given, Iterable) and not isinstance(given, bytes | Iterator)  # and again at a reconnect
    names = [given] if isinstance(given, str) else list(given) if is_readable else None
    if names is None:
        raise ValueError(f"{what} is {given!r}, must be a text or a list of texts, e.g. {example}")
    if not names:
        raise ValueError(f"no {what} given, name at least one, e.g. {example}")
    return list(dict.fromkeys(map(read, names)))


def _topic(text: object) -> str:
    head, _, last = text.strip().rpartition(".") if isinstance(text, str) else ("", "", "")
    name = canonical(last)
    if not _HEAD.fullmatch(head) or not is_symbol(name):
        raise ValueError(f"topic is {text!r}, must be parts joined by points, e.g. kline.5.BTCUSDT")
    return f"{head}.{name if head.partition('.')[0] in NAMED else last}"


def read_topic(topic: str) -> tuple[str, int | None, str] | None:
    """Say what a topic is of, as kind, depth of a book and symbol; None where no kind has it as it is."""
    head, _, symbol = topic.strip().rpartition(".")
    if not is_symbol(canonical(symbol)):
        return None
    name, _, depth = head.partition(".")
    if name == "orderbook":
        return ("orderbook", int(depth), symbol) if depth in map(str, DEPTHS["linear"]) else None
    return next(((kind, None, symbol) for kind, start in TOPIC_KINDS.items() if start == f"{head}."), None)


def plan_batches(market: str, topics: Sequence[str]) -> list[tuple[str, ...]]:
    """The topics of one connection in batches of one subscribe message each.

    Raises ValueError where they are too many for one connection.
    """
    check_characters(topics)
    size = SPOT_BATCH if market == "spot" else BATCH
    return [tuple(topics[start : start + size]) for start in range(0, len(topics), size)]


def limits_of(market: str) -> StreamLimits:
    """Of one connection and message."""
    return StreamLimits(MAX_CHARACTERS, CHARACTERS_PER_ARG, SPOT_BATCH if market == "spot" else 0)


def check_characters(topics: Sequence[str]) -> None:
    """ValueError where the topics are too long for one connection, with how many would fit."""
    used = 0
    for count, topic in enumerate(topics):
        used += len(topic) + CHARACTERS_PER_ARG
        if used > MAX_CHARACTERS:
            parts = -(-len(topics) // max(count, 1))
            raise ValueError(
                f"{len(topics)} topics are too long for one connection: Bybit takes {MAX_CHARACTERS} characters, "
                f"the first {count} fit; split the symbols over {parts} or more STREAMS entries (SOCKET_POOL_SIZE)"
            )


def fast_prefix(market: str, kind: str) -> bytes:
    """How nearly every message of this kind begins. Option messages carry an id before the topic."""
    key = "id" if market == "option" else "topic"
    return f'{{"{key}":"{TOPIC_KINDS[kind]}'.encode()


def symbol_of(topic: str) -> str:
    """The last part of a topic: its symbol, or its base coin for option trades."""
    return topic.rpartition(".")[2]
