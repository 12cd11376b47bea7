"""exchanges.conformance: a venue that does not keep to the contract fails the check that is about it."""

import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from exchanges.binance.protocol import BinanceProtocol
from exchanges.binance.venue import VENUE as BINANCE
from exchanges.conformance import declaration, protocol, recorded
from exchanges.conformance.__main__ import code_of, results_of
from exchanges.conformance.recordings import folder_of, read_folder
from exchanges.conformance.report import NotRun, Outcome, Result, expect_none, run
from exchanges.contract import ConnectLimits, Refusal, Venue
from exchanges.okx.venue import VENUE as OKX
from exchanges.registry import VENUES
from model.protocol import Message
from model.records import StreamLimits, TradeBatch

TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,"p":"1.5","q":"2",'
    b'"T":1723161255342,"m":true,"M":true}}'
)
BOOK = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT",'
    b'"U":%d,"u":%d,"b":[],"a":[]}}'
)


@pytest.mark.parametrize("name", list(VENUES))
@pytest.mark.parametrize("module", [declaration, protocol], ids=["declaration", "protocol"])
def test_every_venue_is_declared_as_it_must_be(name: str, module: Any) -> None:
    """What needs neither recordings nor sockets, for a quick answer."""
    results = [run("pure", check, VENUES[name]) for check in module.CHECKS]
    assert [result.lines() for result in results if result.outcome != "passed"] == []


class Raising(BinanceProtocol):
    """Reads texts that are no object by their first letter."""

    def read(self, payload: bytes) -> Message:
        if payload[:1] != b"{":
            raise ValueError("not what I know")
        return super().read(payload)


class Talkative(BinanceProtocol):
    """Counts its topics as shorter than they are."""

    def __init__(self, market: str) -> None:
        super().__init__(market)
        self.limits = StreamLimits(bytes_per_topic=0, bytes_per_message=8_000)


class Renaming(BinanceProtocol):
    """Sends a request with an id of its own."""

    def subscribe(self, req_id: str, topics: Iterable[str]) -> str:
        return super().subscribe(f"{req_id}0", topics)


class Forgetful(BinanceProtocol):
    """Does not know its own topics again."""

    def read_topic(self, _topic: str) -> None:
        return None


def spoiled(venue: Venue, **changes: Any) -> Venue:
    return dataclasses.replace(venue, **changes)


def spec(venue: Venue, **changes: Any) -> Venue:
    changed = dataclasses.replace(venue.markets["spot"], **changes)
    return spoiled(venue, markets=MappingProxyType({**venue.markets, "spot": changed}))


NO_SENTENCE = ConnectLimits(1, 1.0, MappingProxyType({403: Refusal("no", 1.0)}))


@pytest.mark.parametrize(
    ("check", "venue", "text"),
    [
        (declaration.names_are_neutral, spoiled(OKX, name="OKX"), "OKX"),
        (declaration.names_are_neutral, spec(OKX, name="swap"), "swap"),
        (declaration.kinds_and_depths_are_those_of_the_protocol, spec(OKX, depths=(400, 30)), "30"),
        (
            declaration.kinds_and_depths_are_those_of_the_protocol,
            spec(BINANCE, kinds=("trades", "orderbook")),
            "ticker",
        ),
        (declaration.connects_are_limited, spoiled(OKX, connects=NO_SENTENCE), "no sentence"),
        (declaration.ids_and_trade_keys_agree, spoiled(OKX, trade_keys=None), "trade_keys"),
        (declaration.addresses_are_moved, spoiled(BINANCE, protocol=lambda m, _: BinanceProtocol(m)), "became"),
        (declaration.what_is_served_is_whole, spoiled(OKX, passage=None), "go together"),
        (declaration.what_is_served_is_whole, spoiled(OKX, passage=lambda *_: str), "passed on"),
        (protocol.reading_never_raises, spoiled(BINANCE, protocol=lambda m, _: Raising(m)), "not what I know"),
        (protocol.requests_are_within_the_limits, spoiled(BINANCE, protocol=lambda m, _: Talkative(m)), "counted"),
        (protocol.requests_are_within_the_limits, spoiled(BINANCE, protocol=lambda m, _: Renaming(m)), "no id 4711"),
        (protocol.topics_are_read_as_they_were_made, spoiled(BINANCE, protocol=lambda m, _: Forgetful(m)), "None"),
    ],
)
def test_what_is_not_kept_to_is_found(check: Callable[[Venue], str], venue: Venue, text: str) -> None:
    """Each says what is wrong."""
    result = run("pure", check, venue)
    assert result.outcome == "failed"
    assert text in result.detail


def on(folder: Path, venue: Venue, check: Callable[..., str], frames: list[bytes]) -> Result:
    (folder / "spot.jsonl").write_bytes(b"\n".join(frames))
    return run("recorded", check, read_folder(venue, folder))


def test_ids_that_leave_one_out_are_found(tmp_path: Path) -> None:
    """A continuous recording proves the declared sort of ids, or refutes it."""
    check = recorded.consecutive_ids_follow_each_other
    assert on(tmp_path, BINANCE, check, [TRADE % n for n in range(100, 140)]).outcome == "passed"
    assert on(tmp_path, BINANCE, check, [TRADE % n for n in range(100, 180, 2)]).outcome == "failed"
    assert on(tmp_path, BINANCE, check, [TRADE % 100]).outcome == "not run"


def test_books_without_a_time_are_taken_where_others_have_one(tmp_path: Path) -> None:
    """Of before the exchange sent it; where none has a time the rule may be wrong."""
    check = recorded.frames_begin_and_are_keyed_as_declared
    timed = BOOK % (100, 109)
    untimed = timed.replace(b'"E":', b'"none":')
    assert untimed != timed
    assert on(tmp_path, BINANCE, check, [untimed, timed]).outcome == "passed"
    assert on(tmp_path, BINANCE, check, [untimed, untimed]).outcome == "failed"


def test_books_that_do_not_follow_are_found(tmp_path: Path) -> None:
    """By the rule of one market, that of spot here."""
    check = recorded.books_follow_each_other
    assert on(tmp_path, BINANCE, check, [BOOK % (n, n + 9) for n in range(100, 400, 10)]).outcome == "passed"
    assert on(tmp_path, BINANCE, check, [BOOK % (n, n + 8) for n in range(100, 400, 10)]).outcome == "failed"


def test_books_that_are_read_to_crossed_levels_or_to_none_are_found(tmp_path: Path) -> None:
    """Where a venue's messages have them elsewhere, it has to say so."""
    check = recorded.books_are_read

    def read(venue: Venue, *messages: bytes) -> Result:
        head = b'{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":1,'
        return on(tmp_path, venue, check, [head + each + b"}}" for each in messages])

    sound = b'"bids":[["9","1"],["8","1"]],"asks":[["10","1"]]'
    assert read(BINANCE, sound).outcome == "passed"
    assert read(BINANCE, sound, b'"bids":[["9","1"]],"asks":[["8","1"]]').outcome == "failed"
    assert read(BINANCE, sound, b'"bids":[["9"]],"asks":[]').outcome == "failed"
    swapped = spoiled(BINANCE, book_sides=lambda message: (message["data"]["asks"], message["data"]["bids"]))
    assert read(swapped, sound).outcome == "failed"
    assert on(tmp_path, BINANCE, check, [BOOK % (100, 109)]).outcome == "not run"  # changes alone


def test_trades_without_a_side_or_a_time_for_the_tape_are_found(tmp_path: Path) -> None:
    """By the names that the venue declares."""
    check = recorded.prints_are_read
    assert on(tmp_path, BINANCE, check, [TRADE % 1]).outcome == "passed"
    assert on(tmp_path, BINANCE, check, [(TRADE % 1).replace(b'"m":', b'"x":')]).outcome == "failed"
    assert on(tmp_path, spoiled(BINANCE, record_names={}), check, [TRADE % 1]).outcome == "failed"


def test_unequal_columns_and_ids_of_another_sort_are_found(tmp_path: Path) -> None:
    """What a decoder may get wrong."""
    check = recorded.trades_decode_to_equal_columns

    def decoded(batch: TradeBatch) -> Result:
        return on(tmp_path, spoiled(BINANCE, decoder=lambda *_: lambda _: batch), check, [TRADE % 1])

    def batch(*ids: int | str, ms: int = 1723161255342) -> TradeBatch:
        return TradeBatch(["BTCUSDT"], [ms], [1.5], [2.0], [0], ids)

    assert on(tmp_path, BINANCE, check, [TRADE % 1]).outcome == "passed"
    assert "unequal" in decoded(batch(1, 2)).detail
    assert "times" in decoded(batch(1, ms=1723161255)).detail
    assert decoded(dataclasses.replace(batch("1"), written=lambda: [])).outcome == "failed"


def test_trades_that_are_newest_first_and_equal_ids_of_trades_without_are_found(tmp_path: Path) -> None:
    """A decoder turns a message round, and numbers what has no id, each trade for itself."""
    check = recorded.trades_decode_to_equal_columns

    def decoded(venue: Venue, times_ms: list[int], ids: list[Any]) -> Result:
        count = len(times_ms)
        batch = TradeBatch(["BTCUSDT"] * count, times_ms, [1.5] * count, [2.0] * count, [0] * count, ids)
        batch.written = lambda: [(Decimal("1.5"), Decimal(2))] * count
        return on(tmp_path, spoiled(venue, decoder=lambda *_: lambda _: batch), check, [TRADE % 1])

    now_ms = 1723161255342
    assert decoded(BINANCE, [now_ms, now_ms + 1], [1, 2]).outcome == "passed"
    assert "oldest first" in decoded(BINANCE, [now_ms + 1, now_ms], [1, 2]).detail
    assert "oldest first" in decoded(BINANCE, [now_ms, now_ms + 1], [2, 1]).detail
    without = spoiled(BINANCE, ids="none", trade_keys=None)
    assert decoded(without, [now_ms, now_ms], ["n1", "n2"]).outcome == "passed"
    assert "equal ids" in decoded(without, [now_ms, now_ms], ["n1", "n1"]).detail
    assert "ids are none" in decoded(without, [now_ms], [""]).detail


def test_what_cannot_be_inflated_must_raise_what_a_session_counts() -> None:
    """Any other error would end the stream's thread."""

    class Deflated(BinanceProtocol):
        def inflate(self, payload: bytes) -> bytes:
            return zlib.decompress(payload, 31)

    class Careless(BinanceProtocol):
        def inflate(self, payload: bytes) -> bytes:
            return payload[1:][payload[0] :]  # IndexError of an empty frame

    check = protocol.inflating_raises_what_is_counted
    assert run("pure", check, spoiled(BINANCE, protocol=lambda m, _: Deflated(m))).outcome == "passed"
    assert "IndexError" in run("pure", check, spoiled(BINANCE, protocol=lambda m, _: Careless(m))).detail
    assert run("pure", check, BINANCE).detail == "does not apply: frames are text"


def test_messages_of_no_known_kind_are_found(tmp_path: Path) -> None:
    """A few are answers of REST among them; many are a stream that is not understood."""
    check = recorded.messages_are_classified
    assert on(tmp_path, BINANCE, check, [TRADE % n for n in range(40)] + [b'{"x":1}']).outcome == "passed"
    assert on(tmp_path, BINANCE, check, [TRADE % 1, b'{"x":1}']).outcome == "failed"
    assert on(tmp_path, BINANCE, check, [TRADE % n for n in range(40)] + [b'{"x":']).outcome == "failed"
    (tmp_path / "older.jsonl").write_bytes(b'{"x":1}\n' * 40)  # another generation of the protocol
    found = on(tmp_path, BINANCE, check, [TRADE % n for n in range(40)])
    assert (found.outcome, found.detail.partition("without data: ")[2]) == ("passed", "older.jsonl")


def test_files_are_read_as_recorders_write_them(tmp_path: Path) -> None:
    """Times and arrows before a frame are no part of it; what was sent is left out."""
    sent = b'wss://x <- 1.5: {"op":"subscribe"}'
    (tmp_path / "a.txt").write_bytes(b"\n".join([b"wss://x <-> 1.0", sent, b"1.6: " + TRADE % 1]))
    with gzip.open(tmp_path / "b.jsonl.gz", "wb") as file:
        file.write(TRADE % 2)
    wrapped = [{"from": "x", "raw": '{"b":1}'}, {"dir": "out", "raw": '{"op":1}'}, {"raw": 7}]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, wrapped)))
    (tmp_path / "rest.json").write_text("{}")
    found = read_folder(BINANCE, tmp_path).files
    assert found == {"a.txt": (TRADE % 1,), "b.jsonl.gz": (TRADE % 2,), "c.jsonl": (b'{"b":1}', b'{"raw": 7}')}
    assert folder_of("okx", tmp_path) == tmp_path / "okx"


def test_the_exit_code_tells_failed_from_not_run() -> None:
    """A failure counts more; a single check without its recording does not."""

    def result(outcome: Outcome, name: str = "all") -> Result:
        return Result("recorded", name, "", outcome)

    assert code_of([result("passed"), result("not run", "books follow")]) == 0
    assert code_of([result("passed"), result("not run")]) == 3
    assert code_of([result("not run"), result("failed")]) == 1


def test_a_part_without_recordings_is_not_run(tmp_path: Path) -> None:
    """No recordings are no failure, and no proof either."""
    found = next(result for result in results_of(OKX, tmp_path / "none") if result.part == "recorded")
    assert (found.name, found.outcome) == ("all", "not run")
    assert "is not there" in found.detail


def test_what_a_check_raises_is_its_outcome() -> None:
    """The code of a venue may raise anything."""

    def cannot(_venue: object) -> str:
        """Proves nothing.

        Ever.
        """
        raise NotRun("no data")

    def breaks(_venue: object) -> str:
        raise ZeroDivisionError("odd")

    def counts(_venue: object) -> str:
        expect_none(["a", "b", "c", "d"], 9, "are wrong")
        return ""

    assert run("p", cannot, None) == Result("p", "cannot", "Proves nothing.", "not run", "no data")
    assert run("p", breaks, None).detail == "raised ZeroDivisionError: odd"
    assert run("p", counts, None).detail == "4 of 9 are wrong: a; b; c"
