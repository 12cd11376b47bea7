"""The table of exchanges by what each has, from their declarations. Pure."""

from collections.abc import Iterable

from exchanges.contract import Endpoints, Venue

HEADER = ("`EXCHANGE`", "markets (`CHANNEL_TYPE`)", "kinds", "`ORDERBOOK_DEPTH`, the usual first", "klines open at",
          "trade ids", "a connection lives", "REST")  # fmt: skip
OPENS = {"prev_close": "the previous close", "first_trade": "the first trade"}
IDS = {
    "consecutive": "consecutive: holes are found and repaired by id",
    "unique": "unique: outages are spliced where both sides are known",
    "none": "none: touched candles are replaced by the exchange's",
}


def table(venues: Iterable[Venue]) -> list[str]:
    """The lines of the table, and of what is not verified."""
    listed = list(venues)
    rows = [HEADER, ("---",) * len(HEADER), *map(_row, listed)]
    unverified = [f"* {venue.name}: {text}" for venue in listed for text in venue.unverified]
    notes = ["", "Not verified on the live exchange:", "", *unverified] if unverified else []
    return [*(f"| {' | '.join(row)} |" for row in rows), *notes]


def _row(venue: Venue) -> tuple[str, ...]:
    specs = list(venue.markets.values())
    kinds = {kind: [spec.name for spec in specs if kind in spec.kinds] for spec in specs for kind in spec.kinds}
    depths = {spec.name: ", ".join(map(str, spec.depths)) for spec in specs}
    opens = {spec.name: OPENS[spec.klines.opens_at] if spec.klines else "no klines" for spec in specs}
    lives = {name: venue.protocol(name, Endpoints()).lifetime_s for name in venue.markets}
    return (
        f"`{venue.name}`",
        ", ".join(f"{s.name} ({s.product})" if s.product.lower() != s.name else s.name for s in specs),
        ", ".join(
            kind if len(names) == len(specs) else f"{kind} ({', '.join(names)})"
            for kind, names in kinds.items()
            if kind != "topics"
        ),
        _merged(depths),
        _merged(opens),
        IDS[venue.ids],
        _merged({name: f"{life_s / 3600:g} h" if life_s else "without end" for name, life_s in lives.items()}),
        venue.rest_limit,
    )


def _merged(by_market: dict[str, str]) -> str:
    """One text where markets agree; else that of most, and those that differ by name."""
    texts = list(by_market.values())
    usual = max(texts, key=texts.count)
    others = [f"{name}: {text}" for name, text in by_market.items() if text != usual]
    return "; ".join([usual, *others])
