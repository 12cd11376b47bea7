"""Checks of a venue on recorded frames: what the exchange really sent. Pure: opens nothing."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection

from exchanges.books import BookReader, TapeReader
from exchanges.conformance.protocol import reporting
from exchanges.conformance.recordings import Frame, Recordings, begins_as
from exchanges.conformance.report import NotRun, expect, expect_none
from exchanges.contract import TradeRules, Venue
from model.protocol import Data, KindFrames, Malformed, Unknown
from model.records import TradeBatch, TradeId

UNKNOWN_MOST = 0.05  # of all messages: answers of REST, and of streams that a venue does not open, stand among them
CONTINUOUS = 20  # a topic with so many messages in one file is a recording of it, not a sample
OTHERWISE_MOST = 0.1  # of the frames of a kind may begin otherwise: each is read as a whole
FOLLOWING_LEAST = 0.9  # of a continuous recording: some lack frames
EARLIEST_MS, LATEST_MS = 1_300_000_000_000, 4_000_000_000_000  # 2011 to 2096
NEEDED_NAMES = ("symbol", "timestamp", "price", "size", "trade_id", "lastPrice")  # others a market may not have
ODD_VALUES = ("null", "1", "[]", "{}", '""', "[null]", '{"e":[]}')  # JSON of other types
SHOWN_LEVELS = 15
SPOILED = 300  # messages of which each field is spoiled in turn


def messages_are_classified(found: Recordings) -> str:
    """Each recorded message is JSON, and data with its topic, an answer, a ping, a notice or an error; but for files
    without any data of a known kind, which are named.
    """
    kinds = Counter(type(message).__name__ for _, message in found.messages)
    expect(kinds, "there is no message in these files")
    expect_none(
        [repr(text[:80]) for text, message in found.messages if isinstance(message, Malformed)],
        len(found.messages),
        "are no JSON",
    )
    known = {payload for name, frames in found.frames.items() if frames for payload in found.files[name]}
    unknown = [repr(text[:80]) for text, message in found.messages if isinstance(message, Unknown) and text in known]
    if len(unknown) > UNKNOWN_MOST * len(known):
        expect_none(unknown, len(known), "are of no known kind")
    of_kinds = Counter(frame.of[0] for frames in found.frames.values() for frame in frames)
    expect(of_kinds, "no data is of a known kind")
    shown = ", ".join(f"{count} {kind}" for kind, count in (of_kinds + kinds).most_common())
    foreign = ", ".join(name for name, frames in found.frames.items() if not frames)
    return f"{len(found.files)} files: {shown}{'; without data: ' if foreign else ''}{foreign}"


def spoiled_messages_do_not_raise(found: Recordings) -> str:
    """A recorded message that is cut off, or has any field of another type, is read without raising."""
    protocols = [protocol for frames in found.frames.values() for frame in frames for protocol in frame.protocols]
    read = protocols[0].read
    for payload, _ in found.messages[:: max(1, len(found.messages) // SPOILED)]:
        for end in range(0, len(payload), max(1, len(payload) // 20)):
            expect(isinstance(read(payload[:end]), Malformed), f"a part of a message is read: {payload[:end][-60:]!r}")
        message = json.loads(payload)
        for name in message:
            for odd in ODD_VALUES:
                read(json.dumps({**message, name: json.loads(odd)}).encode())
    return ""


def frames_begin_and_are_keyed_as_declared(found: Recordings) -> str:
    """Nearly all data begin with the prefix of their kind and not below its floor; the marker leads to the key of their
    topic; the time stands where `sent` finds it, but for books of before they had one; and nothing else begins so.
    """
    every = [frame for frames in found.frames.values() for frame in frames]
    timed = {(name, frame.of[0]) for frame in every for name in _markets_with_time(frame)}
    faults = [fault for frame in every if (fault := _fault_of(frame, timed))]
    expect_none(faults, len(every), "frames are not as declared")
    for kind in {frame.of[0] for frame in every}:
        frames = [frame for frame in every if frame.of[0] == kind]
        others = [f"{each.topic}: {each.payload[:60]!r}" for each in frames if not _begins_as_declared(each)]
        if len(others) > OTHERWISE_MOST * len(frames):
            expect_none(others, len(frames), f"frames of {kind} do not begin with the prefix")
    no_data = [payload for payload, message in found.messages if not isinstance(message, Data)]
    for frame in {(frame.of[0], frame.protocols[0].market): frame for frame in every}.values():
        declared = frame.protocols[0].frames(frame.of[0], [frame.topic])
        taken = [repr(text[:80]) for text in no_data if declared.is_data(text)]
        expect_none(taken, len(no_data), f"messages that are no data begin as {frame.of[0]} do")
    return f"{len(every)} frames"


def _begins_as_declared(frame: Frame) -> bool:
    return any(begins_as(protocol, frame.of, frame.topic, frame.payload) for protocol in frame.protocols)


def _markets_with_time(frame: Frame) -> list[str]:
    """The markets by whose rule a frame has a time."""
    kind, _, _ = frame.of
    found = [(each.market, each.frames(kind, [frame.topic])) for each in frame.protocols]
    return [market for market, declared in found if declared.sent.search(frame.payload)]


def _fault_of(frame: Frame, timed: Collection[tuple[str, str]]) -> str:
    """What of a frame is not as declared; "" where nothing. `timed`: markets and kinds of which some have times."""
    kind, _, _ = frame.of
    for protocol in frame.protocols:
        declared: KindFrames = protocol.frames(kind, [frame.topic])
        key = protocol.key_of(kind, frame.topic)
        sent = declared.sent.search(frame.payload)
        if declared.key_in(frame.payload) != key:
            fault = f"the key is {declared.key_in(frame.payload)!r}, not {key!r}"
        elif sent is None and kind != "trades" and (protocol.market, kind) in timed:
            return ""
        elif not is_time_as_declared(kind, declared, frame.payload):
            fault = f"the time is {sent and sent[1]!r} in {frame.payload[:200]!r}"
        else:
            return ""
    return f"{frame.topic}: {fault}"


def is_time_as_declared(kind: str, declared: KindFrames, payload: bytes) -> bool:
    """Whether a payload has a time of today's magnitude in ms; whole books, and tickers, of some have none."""
    if (sent := declared.sent.search(payload)) is None:
        return kind != "trades" and declared.sequence is None
    return EARLIEST_MS < int(sent[1]) < LATEST_MS


def trades_decode_to_equal_columns(found: Recordings) -> str:
    """Each payload of trades gives columns of one length, oldest first, finite positive numbers with their digits,
    times of today's magnitude, and ids of the declared sort; where there are none each trade gets an id of its own.
    """
    count = uncounted = 0
    for name, frame in found.of_kind("trades"):
        batch, reports = _decoded(found, frame)
        expect(not reports and not batch.broken, f"{name}: {reports} of {frame.payload[:200]!r}")
        count, uncounted = count + len(batch.symbols), uncounted + len(batch.uncounted)
        expect(batch.symbols or batch.uncounted, f"{name}: no trade in {frame.payload[:200]!r}")
        expect_trades(found.venue, batch, frame.payload)
        if found.venue.ids == "none":
            twice = found.venue.decoder(frame.protocols[0].market, TradeRules(), reporting([]))([frame.payload] * 2)
            distinct = {*twice.ids}
            expect(len(distinct) == len(twice.ids), f"{name}: equal trades have equal ids: {twice.ids}")
    if not count:
        raise NotRun("no trades are recorded")
    return f"{count} trades, {uncounted} that do not count in candles"


def expect_trades(venue: Venue, batch: TradeBatch, payload: bytes) -> None:
    """Raise Failed where the trades of one payload are not as a decoder must make them."""
    what = f"{payload[:200]!r}"
    _expect_whole(batch, what)
    numbers: dict[str, list[int]] = defaultdict(list)
    for _, trade_id in (*zip(batch.symbols, batch.ids, strict=True), *batch.uncounted):
        is_declared = trade_id != "" and isinstance(trade_id, int) == (venue.ids == "consecutive")
        expect(is_declared, f"the id {trade_id!r}, but ids are {venue.ids}: {what}")
    for symbol, ms, trade_id in zip(batch.symbols, batch.event_ms, batch.ids, strict=True):
        expect(symbol.encode().lower() in payload.lower(), f"{symbol} is not in its payload: {what}")
        numbers[symbol].append(ms)
        numbers[f"{symbol} id"] += [trade_id] if isinstance(trade_id, int) else []
    for of, found in numbers.items():
        expect(found == sorted(found), f"trades of {of} are not oldest first: {found}: {what}")


def _expect_whole(batch: TradeBatch, what: str) -> None:
    lengths = {len(c) for c in (batch.symbols, batch.event_ms, batch.prices, batch.sizes, batch.seqs, batch.ids)}
    expect(len(lengths) == 1, f"columns are unequal: {what}")
    expect(batch.matches is None or len(batch.matches) == len(batch.symbols), f"matches are unequal: {what}")
    expect(all(math.isfinite(p) and p > 0 for p in batch.prices), f"prices are {batch.prices}: {what}")
    expect(all(math.isfinite(s) and s > 0 for s in batch.sizes), f"sizes are {batch.sizes}: {what}")
    expect(all(EARLIEST_MS < ms < LATEST_MS for ms in batch.event_ms), f"times are {batch.event_ms}: {what}")
    written = [(float(price), float(size)) for price, size in batch.written()]
    expect(written == list(zip(batch.prices, batch.sizes, strict=True)), f"written are {written}: {what}")


def _decoded(found: Recordings, frame: Frame) -> tuple[TradeBatch, list[str]]:
    reports: list[str] = []
    return found.venue.decoder(frame.protocols[0].market, TradeRules(), reporting(reports))([frame.payload]), reports


def consecutive_ids_follow_each_other(found: Recordings) -> str:
    """In a continuous recording each trade's id is the last one's and as many more as it has matches, those that do not
    count included.
    """
    if found.venue.ids != "consecutive":
        return f"does not apply: ids are {found.venue.ids}"
    last: dict[tuple[str, str], int] = {}
    steps: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for name, frame in found.of_kind("trades"):
        batch, _ = _decoded(found, frame)
        matches = batch.matches or [1] * len(batch.symbols)
        ids: list[tuple[str, TradeId, int]] = [
            *zip(batch.symbols, batch.ids, matches, strict=True),
            *((symbol, each, 1) for symbol, each in batch.uncounted),
        ]
        for symbol, trade_id, count in sorted(ids, key=lambda each: int(each[1])):
            key = (name, symbol)
            if key in last:
                steps[key].append(int(trade_id) == last[key] + count)
            last[key] = int(trade_id)
    return _expect_following(steps, "trades")


def books_follow_each_other(found: Recordings) -> str:
    """In a continuous recording each message of an order book follows the one before by the rule of one market, which
    is named.
    """
    last: dict[tuple[str, str, str], int] = {}
    by_market: dict[tuple[str, str], dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for name, frame in found.of_kind("orderbook"):
        key = (name, frame.topic)
        for protocol in frame.protocols:
            newest = last.get((*key, protocol.market))
            declared = protocol.frames("orderbook", [frame.topic])
            rule = declared.sequence
            if rule is None or (own := rule.own.search(frame.payload)) is None:
                continue
            is_whole = declared.snapshot is not None and declared.snapshot.search(frame.payload)
            if newest is not None and not is_whole:
                by_market[key][protocol.market].append(rule.link % (newest + rule.step) in frame.payload)
            last[(*key, protocol.market)] = int(own[1])
    best = {key: max(made.items(), key=lambda each: sum(each[1])) for key, made in by_market.items()}
    shown = _expect_following({key: made for key, (_, made) in best.items()}, "messages of books")
    markets = Counter(market for market, made in best.values() if len(made) >= CONTINUOUS)
    return f"{shown}: {', '.join(f'{count} by the rule of {market}' for market, count in markets.items())}"


def books_are_read(found: Recordings) -> str:
    """Each recorded book that is whole, and each one changed since, has its levels: bids below asks, best first."""
    readers: dict[tuple[str, str], BookReader] = {}
    count, odd = 0, []
    for name, frame in found.of_kind("orderbook"):
        declared = frame.protocols[0].frames("orderbook", [frame.topic])
        if declared.sequence is not None and declared.snapshot is None:
            continue  # changes alone
        reader = readers.setdefault((name, frame.topic), BookReader(declared, found.venue.book_sides))
        if not reader.take(frame.payload) and not reader.unreadable:
            continue
        count += 1
        bids, asks = reader.top(SHOWN_LEVELS)
        prices = [float(price) for price, _ in (*reversed(bids), *asks)]
        is_whole = declared.snapshot is None or declared.snapshot.search(frame.payload) is not None
        is_sane = not reader.unreadable and all(size and float(size) > 0 for _, size in (*bids, *asks))
        if not is_sane or (is_whole and prices != sorted(set(prices))):
            odd.append(f"{name}: {frame.topic}: {frame.payload[:200]!r}")
    expect_none(odd, count, "books are not read to bids below asks")
    if not count:
        raise NotRun("no whole books are recorded")
    return f"{count} messages of books"


def prints_are_read(found: Recordings) -> str:
    """Each recorded trade is read as the tape of a page shows it: its time, price and size, and the taker's side."""
    count, odd = 0, []
    names = found.venue.record_names.get("trades", {})
    for name, frame in found.of_kind("trades"):
        read = found.venue.reader(frame.protocols[0].market, "trades", reporting([]), ("trades",))
        assert read is not None
        trades, prints = read([frame.payload]).get("trades", ()), TapeReader(read, names)([frame.payload])
        count += len(trades)
        is_sane = all(EARLIEST_MS < each.ms < LATEST_MS and float(each.price) >= 0 and each.side for each in prints)
        if len(prints) != len(trades) or not is_sane:
            odd.append(f"{name}: {prints} of {frame.payload[:200]!r}")
    expect_none(odd, count, "trades are not read as a tape shows them")
    if not count:
        raise NotRun("no trades are recorded")
    return f"{count} trades"


def _expect_following(steps: dict[tuple[str, str], list[bool]], what: str) -> str:
    long = {key: made for key, made in steps.items() if len(made) >= CONTINUOUS}
    if not long:
        raise NotRun(f"no recording has {CONTINUOUS} {what} of one symbol with ids")
    odd = [
        f"{name}: {sum(made)} of {len(made)} of {of}"
        for (name, of), made in long.items()
        if sum(made) < FOLLOWING_LEAST * len(made)
    ]
    expect_none(odd, len(long), f"recordings of {what} do not follow by the rule")
    every = [each for made in long.values() for each in made]
    return f"{sum(every)} of {len(every)} {what} in {len(long)} recordings follow"


def records_have_the_declared_names(found: Recordings) -> str:
    """Payloads of trades and tickers become records for envelopes, with the fields that record_names names."""
    counts: Counter[str] = Counter()
    for kind, data_type in (("trades", "trades"), ("ticker", "ticker"), ("ticker", "price")):
        by_market: dict[str, list[Frame]] = defaultdict(list)
        for _, frame in found.of_kind(kind):
            by_market[frame.protocols[0].market].append(frame)
        fields: set[str] = set()
        for market, frames in by_market.items():
            reports: list[str] = []
            reader = found.venue.reader(market, kind, reporting(reports), (data_type,))
            expect(reader is not None, f"{market} has no reader of {data_type}")
            assert reader is not None
            records = [record for frame in frames for record in reader([frame.payload]).get(data_type, ())]
            expect(not reports, f"{market}: {Counter(reports)}")
            counts[data_type] += len(records)
            fields |= {name for record in records for name in record}
        names = found.venue.record_names.get(data_type, {})
        missing = [names[each] for each in NEEDED_NAMES if each in names and names[each] not in fields]
        expect(not fields or not missing, f"no record of {data_type} has {', '.join(missing)}")
    if not counts:
        raise NotRun("neither trades nor tickers are recorded")
    return ", ".join(f"{count} of {name}" for name, count in counts.items())


CHECKS: tuple[Callable[[Recordings], str], ...] = (
    messages_are_classified,
    spoiled_messages_do_not_raise,
    frames_begin_and_are_keyed_as_declared,
    trades_decode_to_equal_columns,
    consecutive_ids_follow_each_other,
    books_follow_each_other,
    books_are_read,
    prints_are_read,
    records_have_the_declared_names,
)
