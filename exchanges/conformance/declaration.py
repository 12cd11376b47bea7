"""Checks of what a venue declares. Pure: opens nothing."""

import re
import threading
from collections.abc import Callable
from functools import partial
from math import isfinite
from typing import get_args

import msgspec

from exchanges.conformance.report import Failed, expect
from exchanges.contract import Endpoints, TradeRules, Venue
from exchanges.upstream import SharedUpstream
from model.dialect import DialectOptions
from model.intervals import MINUTE_MS
from model.market_api import MarketApiOptions
from model.markets import Contract
from model.records import Kind

NEUTRAL = (*get_args(Contract), "option")
NOWHERE_WS, NOWHERE_REST = "ws://127.0.0.1:9", "http://127.0.0.1:9"  # the discard port: nothing is sent there
ODD_DEPTH = 7_777_777
WORDS_LEAST, PHRASE_WORDS_LEAST = 4, 2  # of a sentence, and of what is not verified
RECORD_TYPES = frozenset({"ticker", "price", "trades"})


def names_are_neutral(venue: Venue) -> str:
    """The venue is called by a word in lower case, its markets as everywhere: linear, inverse, spot, option."""
    expect(re.fullmatch(r"[a-z][a-z0-9]*", venue.name), f"name is {venue.name!r}")
    expect(venue.markets, "there is no market")
    for name, spec in venue.markets.items():
        expect(name == spec.name, f"the market {spec.name} is declared under {name}")
        expect(name in NEUTRAL, f"the market {name!r} is none of {', '.join(NEUTRAL)}")
        expect(name == "option" or spec.contract == name, f"{name} has the arithmetic of {spec.contract}")
        expect(spec.product, f"{name} does not say what the exchange calls it")
    return ", ".join(f"{spec.name} ({spec.product})" for spec in venue.markets.values())


def kinds_and_depths_are_those_of_the_protocol(venue: Venue) -> str:
    """Each declared kind and depth has topics; each other one is refused with a sentence that names what there is."""
    for name, spec in venue.markets.items():
        protocol = venue.protocol(name, Endpoints())
        expect(protocol.market == name, f"the protocol of {name} is of {protocol.market}")
        expect("trades" in spec.kinds, f"{name} has no trades")
        expect(len(set(spec.kinds)) == len(spec.kinds), f"kinds of {name} come twice")
        expect(
            "topics" not in spec.kinds, f"{name} has topics that users name among its kinds, as every market has them"
        )
        expect(("orderbook" in spec.kinds) == bool(spec.depths), f"{name}: depths are {spec.depths}")
        expect(len(set(spec.depths)) == len(spec.depths), f"depths of {name} come twice")
        usual = spec.depths[0] if spec.depths else 0
        for kind in get_args(Kind):
            if kind in spec.kinds and kind != "topics":
                for depth in spec.depths if kind == "orderbook" else (usual,):
                    expect(protocol.topics(kind, "BTCUSDT", depth), f"{name} has no topics of {kind}")
            elif kind != "topics":
                _expect_refused(partial(protocol.topics, kind, "BTCUSDT", usual), f"{name}: {kind}")
        if spec.depths:
            _expect_refused(partial(protocol.topics, "orderbook", "BTCUSDT", ODD_DEPTH), f"{name}: {ODD_DEPTH}")
        _expect_refused(partial(protocol.topics, "trades", [], usual), f"{name}: no symbols")
    return ""


def candle_rules_are_declared(venue: Venue) -> str:
    """Each market says how its candles open, and its REST API serves those of a minute; or there are no candles."""
    for name, spec in venue.markets.items():
        steps = venue.rest(name, Endpoints(rest_url=NOWHERE_REST), TradeRules(), threading.Event()).candle_steps_ms
        positive = [step for step in steps if step]  # a month is 0
        expect(positive == sorted(set(positive)), f"{name}: the steps are not ascending: {steps}")
        if spec.klines is not None:
            expect(MINUTE_MS in steps, f"{name} has klines, but no candles of a minute")
            expect(spec.klines.inverse_digits >= 0, f"{name}: {spec.klines.inverse_digits} decimals")
    return ", ".join(f"{n}: {s.klines.opens_at if s.klines else 'no klines'}" for n, s in venue.markets.items())


def connects_are_limited(venue: Venue) -> str:
    """The budget of connects is positive, and each refusing HTTP status is explained to a person, with a pause."""
    limits = venue.connects
    expect(limits.most >= 1 and limits.per_s > 0, f"{limits.most} connects in {limits.per_s} s")
    for status, refusal in limits.refusals.items():
        expect(400 <= status < 600, f"{status} is no status of a refusal")
        expect(len(refusal.meaning.split()) >= WORDS_LEAST, f"{status} means {refusal.meaning!r}, which is no sentence")
        expect(refusal.pause_s > 0 and isfinite(refusal.pause_s), f"{status} pauses for {refusal.pause_s} s")
    expect(limits.refusals, "no HTTP status of a refused handshake is explained")
    return f"{limits.most} in {limits.per_s:g} s; explained: {', '.join(map(str, sorted(limits.refusals)))}"


def ids_and_trade_keys_agree(venue: Venue) -> str:
    """Trades that have ids can be told apart by them in a payload; where they have none nothing claims to."""
    expect((venue.ids == "none") == (venue.trade_keys is None), f"ids are {venue.ids}, trade_keys {venue.trade_keys}")
    expect(set(venue.record_names) <= RECORD_TYPES, f"record_names has {sorted(venue.record_names)}")
    return venue.ids


def readme_is_told_its_facts(venue: Venue) -> str:
    """docs/EXCHANGES.md has what REST reads may cost, what the venue rests on, what was not seen live."""
    expect(venue.rest_limit, "rest_limit is empty")
    expect(venue.recorded or venue.documented, "neither recorded nor documented says what it rests on")
    for text in (venue.rest_limit, venue.recorded, venue.documented, *venue.unverified):
        expect(not {"|", "\n"} & set(text), f"{text!r} would break a table")
    short = [text for text in venue.unverified if len(text.split()) < PHRASE_WORDS_LEAST]
    expect(not short, f"unverified has {short}, which say nothing")
    return f"{venue.rest_limit}; {len(venue.unverified)} not verified"


def addresses_are_moved(venue: Venue) -> str:
    """WS_URL and REST_URL replace scheme, host and port of every address, and nothing else; nothing is opened."""
    for name, spec in venue.markets.items():
        usual, moved = venue.protocol(name, Endpoints()), venue.protocol(name, Endpoints(ws_url=NOWHERE_WS))
        whole = venue.protocol(name, Endpoints(stream=f"{NOWHERE_WS}/all"))
        for kind in spec.kinds:
            if kind == "topics":
                continue
            topics = usual.topics(kind, "BTCUSDT", spec.depths[0] if spec.depths else 0)
            there, here = usual.endpoint(kind, topics), moved.endpoint(kind, topics)
            expect(there.startswith("wss://"), f"{name} {kind} is at {there}")
            path = "/" + there.removeprefix("wss://").partition("/")[2]
            expect(here.rstrip("/") == (NOWHERE_WS + path).rstrip("/"), f"{name} {kind}: {there} became {here}")
            expect(
                whole.endpoint(kind, topics) == f"{NOWHERE_WS}/all", f"{name} {kind}: {whole.endpoint(kind, topics)}"
            )
        rest = venue.rest(name, Endpoints(rest_url=NOWHERE_REST), TradeRules(), threading.Event())
        expect(rest.url == NOWHERE_REST, f"{name}: REST is at {rest.url}")
    return ""


def what_is_served_is_whole(venue: Venue) -> str:
    """Where its own protocol is served, refusals and logins are JSON, and the page's paths stay the page's."""
    served = []
    expect((venue.market_api is None) == (venue.passage is None), "market_api and passage go together")
    if venue.market_api is not None and venue.passage is not None:
        api = venue.market_api(MarketApiOptions(SharedUpstream(lambda _path: None), markets=tuple(venue.markets)))
        expect(api.paths and all(path.startswith("/") for path in api.paths), f"paths of REST are {api.paths}")
        expect("/" not in api.paths, "REST would take the page's path")
        for status in (400, 404, 405):
            answer = api.refused(status, "no")
            expect(_is_object(answer.body), f"{status} is refused with {answer.body!r}, which is no object")
        expect(_is_object(api.unavailable("not now").body), "what is unavailable is refused with no object")
        passage = venue.passage(Endpoints(rest_url=NOWHERE_REST), threading.Event())
        expect(passage("/readyz") is None, "paths that are no market data are passed on")
        served.append("REST")
    if venue.dialect is not None:
        dialect = venue.dialect(DialectOptions(markets=tuple(venue.markets)))
        expect("/" not in dialect.paths, "the protocol would take the path of envelopes")
        for text in (dialect.authorized("a-b"), dialect.unauthorized("a-b")):
            expect(_is_object(text), f"a login is answered {text!r}, which is no object")
        for payload in (b"", b"{", b"[]", b'{"arg":7}', b"\xff", b"[" * 5_000):
            expect(dialect.topic_of(payload) == "", f"{payload[:20]!r} is of {dialect.topic_of(payload)!r}")
        served.append("WebSocket")
    return " and ".join(served) or "nothing"


def _is_object(text: str | bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except msgspec.DecodeError:
        return False


def _expect_refused(ask: Callable[[], object], what: str) -> None:
    try:
        found = ask()
    except ValueError as error:
        expect(len(str(error).split()) >= WORDS_LEAST, f"{what} is refused with {str(error)!r}, which is no sentence")
    else:
        raise Failed(f"{what} is not refused but gives {found!r}")


CHECKS: tuple[Callable[[Venue], str], ...] = (
    names_are_neutral,
    kinds_and_depths_are_those_of_the_protocol,
    candle_rules_are_declared,
    connects_are_limited,
    ids_and_trade_keys_agree,
    readme_is_told_its_facts,
    addresses_are_moved,
    what_is_served_is_whole,
)
