"""Errors of settings that ask an exchange for what it does not have: markets, kinds, depths, addresses. Pure."""

from collections.abc import Iterable, Iterator

from conf.declarations import SETTINGS
from conf.settings import Settings, SettingsError
from exchanges.contract import Venue
from model.dialect import DialectOptions
from model.markets import MarketSpec

KIND_SETTINGS = ("RAW_STREAMS", "REDIS_STREAMS_KINDS", "RAW_RECORD_KINDS")


def check_settings(settings: Settings, venue: Venue) -> None:
    """Raise SettingsError with a line for everything that the exchange does not have."""
    if wrong := list(_errors(settings, venue)):
        raise SettingsError("\n".join(wrong))


def has_markets(settings: Settings, venue: Venue) -> bool:
    """Whether the exchange has the markets that the settings name."""
    return venue.markets.keys() >= set(settings.markets)


def depth_of(settings: Settings, venue: Venue) -> int:
    """The levels of order books: ORDERBOOK_DEPTH, or what is usual at the exchange and there in every market."""
    if settings.orderbook_depth is not None:
        return settings.orderbook_depth
    main, *beside = (venue.markets[market].depths for market in settings.markets)
    return next((depth for depth in main if all(depth in depths for depths in beside)), main[0])


def _errors(settings: Settings, venue: Venue) -> Iterator[str]:
    is_known = has_markets(settings, venue) and not settings.is_wrong("CHANNEL_TYPE")
    collected = [venue.markets[market] for market in settings.markets if market in venue.markets]
    if settings.channel_type not in venue.markets:
        allowed = [name for name in SETTINGS["CHANNEL_TYPE"].allowed.choices if name in venue.markets]
        yield _line(settings, "CHANNEL_TYPE", f"{venue.name} has no such market", allowed)
    if settings.enable_spot_stream and "spot" not in venue.markets:
        yield _line(settings, "ENABLE_SPOT_STREAM", f"{venue.name} has no spot market here", ["false"])
    yield from _depth_errors(settings, venue, collected if is_known else [])
    yield from _kind_errors(settings, venue, collected if is_known else [])
    if settings.use_testnet and not venue.has_testnet:
        yield _line(settings, "USE_TESTNET", f"{venue.name} has no test network of its markets", ["false"])
    if settings.redundancy > 1 and venue.trade_keys is None:
        reason = f"messages of {venue.name} name no ids, by which trades of two connections are told apart"
        yield _line(settings, "REDUNDANCY", reason, ["1"])
    if settings.websocket_exchange_paths != "off":
        yield from _path_errors(settings, venue)
    needs_sizes = settings.enable_klines_stream and any(market.has_contracts for market in collected)
    if needs_sizes and not settings.has_rest:
        name = settings.written("WS_URL")
        yield f"{name}={settings.ws_url!r}: REST_URL is not set; what a contract of {venue.name} is worth is read there"


def _path_errors(settings: Settings, venue: Venue) -> Iterator[str]:
    """Of the exchange's own protocol: that it is not served, or shares its path with ours."""
    if venue.dialect is None:
        yield _line(settings, "WEBSOCKET_EXCHANGE_PATHS", f"no protocol of {venue.name} is served", ["off"])
        return
    paths = venue.dialect(DialectOptions(markets=settings.markets)).paths
    if "websocket" in settings.outputs and settings.websocket_path in paths:
        reason = f"with WEBSOCKET_EXCHANGE_PATHS this path is {venue.name}'s"
        name = settings.written("WEBSOCKET_PATH")
        yield f"{name}={settings.websocket_path!r}: {reason}; allowed: another path, as /"


def _depth_errors(settings: Settings, venue: Venue, collected: list[MarketSpec]) -> Iterator[str]:
    """Of no markets: what is in none of the exchange's."""
    wrong = [market.name for market in collected if settings.orderbook_depth not in (None, *market.depths)]
    reason = f"{venue.name} has no books of this depth"
    if wrong:
        first, *others = (market.depths for market in collected)
        allowed = [depth for depth in first if all(depth in depths for depths in others)]
        yield _line(settings, "ORDERBOOK_DEPTH", f"{reason} in {' and '.join(wrong)}", allowed)
    elif not collected:
        offered = dict.fromkeys(depth for market in venue.markets.values() for depth in market.depths)
        if settings.orderbook_depth not in (None, *offered):
            yield _line(settings, "ORDERBOOK_DEPTH", reason, offered)


def _kind_errors(settings: Settings, venue: Venue, collected: list[MarketSpec]) -> Iterator[str]:
    """A default, written out or not, names what some market may not have; what was chosen must be there.

    Of no markets: what is in none of the exchange's.
    """
    offered = {kind for market in collected or venue.markets.values() for kind in market.kinds}
    where = f" in {' and '.join(market.name for market in collected)}" if collected else ""
    for name in KIND_SETTINGS:
        value = getattr(settings, name.lower())
        chosen = [kind for kind in value if kind != "klines"] if value != SETTINGS[name].default else []
        if missing := [kind for kind in chosen if kind not in offered]:
            allowed = [kind for kind in SETTINGS["RAW_STREAMS"].default if kind in offered]
            yield _line(settings, name, f"{venue.name} has no {' and '.join(missing)}{where}", allowed)


def _line(settings: Settings, name: str, reason: str, allowed: Iterable[object]) -> str:
    value = getattr(settings, name.lower())
    text = ",".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else value
    return f"{settings.written(name)}={str(text)!r}: {reason}; allowed: {', '.join(map(str, allowed))}"
