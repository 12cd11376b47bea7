"""The table of docs/EXCHANGES.md: exchanges by what each declares. Pure; `make settings` writes it."""

import textwrap
from collections.abc import Iterable
from typing import get_args

from exchanges.contract import Endpoints, Venue
from model.markets import Contract, KlineRules, MarketSpec

BEGIN, END = "<!-- exchanges: made by `make settings` from each exchange's venue.py -->", "<!-- end of exchanges -->"
HEADER = ("`EXCHANGE`", "`CHANNEL_TYPE`", "kinds", "`ORDERBOOK_DEPTH`, the usual first", "a candle opens at",
          "trade ids", "`REDUNDANCY`", "a connection lives", "REST reads")  # fmt: skip
WIDTH = 120
OPENS = {"prev_close": "the previous close", "first_trade": "the first trade"}
NOTES = (
    "Trade ids that are consecutive show every hole, which is repaired by id; unique ones splice an outage where both",
    "sides of it are known; where there are none, the exchange's own candles replace those that an outage touched. A",
    "depth comes as changes, or as the whole of so many levels each time. Where candles have no exact turnover, a",
    "kline that one of them replaced has theirs, or volume times close.",
)

EVIDENCE = (
    "None was run live. What rests on recordings of an exchange, what on its documentation alone, and what only a live",
    "run can show:",
)


def table(venues: Iterable[Venue]) -> list[str]:
    """The lines of the table, what its words mean, and what is not verified on the live exchanges."""
    listed = list(venues)
    header, *rows = [f"| {' | '.join(row)} |" for row in (HEADER, *map(_row, listed))]
    evidence = [line for venue in listed for line in textwrap.wrap(_evidence(venue), WIDTH, subsequent_indent="  ")]
    return [
        header,
        f"|{'---|' * len(HEADER)}",
        *rows,
        "",
        *NOTES,
        "",
        *EVIDENCE,
        "",
        *evidence,
    ]


def _evidence(venue: Venue) -> str:
    parts = {
        "recorded": venue.recorded,
        "documented": venue.documented,
        "only a live run shows": ", ".join(venue.unverified),
    }
    return f"* `{venue.name}`: " + "; ".join(f"{name}: {text}" for name, text in parts.items() if text) + "."


def _row(venue: Venue) -> tuple[str, ...]:
    specs = list(venue.markets.values())
    lives = {name: venue.protocol(name, Endpoints()).lifetime_s for name in venue.markets}
    return (
        f"`{venue.name}`",
        ", ".join(map(_market, specs)),
        _kinds(specs),
        _merged({spec.name: _depths(venue, spec) for spec in specs}),
        _merged({spec.name: _candles(spec.klines) for spec in specs if spec.klines}),
        venue.ids,
        "1, 2" if venue.trade_keys else "1",
        _merged({name: f"{life_s / 3600:g} h" if life_s else "without end" for name, life_s in lives.items()}),
        venue.rest_limit,
    )


def _candles(rules: KlineRules) -> str:
    return OPENS[rules.opens_at] + ("; no exact turnover" if rules.lacks_turnover else "")


def _market(spec: MarketSpec) -> str:
    notes = [spec.product] if spec.product.lower() != spec.name else []
    notes += ["`STREAMS` alone"] if spec.name not in get_args(Contract) else []
    return f"{spec.name} ({', '.join(notes)})" if notes else spec.name


def _kinds(specs: list[MarketSpec]) -> str:
    kinds = dict.fromkeys(kind for spec in specs for kind in spec.kinds)
    lacking = {kind: ", ".join(spec.name for spec in specs if kind not in spec.kinds) for kind in kinds}
    return ", ".join(f"{kind} (not {names})" if names else kind for kind, names in lacking.items())


def _depths(venue: Venue, spec: MarketSpec) -> str:
    """The depths of a market's books, those of one way together."""
    protocol = venue.protocol(spec.name, Endpoints())
    ways: dict[str, list[str]] = {}
    for depth in spec.depths:
        frames = protocol.frames("orderbook", protocol.topics("orderbook", "BTCUSDT", depth))
        way = "changes" if frames.snapshot else "changes, without a snapshot" if frames.sequence else "whole"
        ways.setdefault(way, []).append(str(depth))
    return "; ".join(f"{', '.join(depths)} ({way})" for way, depths in ways.items())


def _merged(by_market: dict[str, str]) -> str:
    """One text where markets agree; else that of most, and those that differ by name."""
    texts = list(by_market.values())
    usual = max(texts, key=texts.count, default="")
    others = [f"{name}: {text}" for name, text in by_market.items() if text != usual]
    return "; ".join([usual, *others])
