"""The checkpoint: what moves an entry, what is written to Redis and noted in the store, what a restart finds."""

import sys
import threading
from datetime import UTC, datetime

import pytest

from consumers.redis.backlog import KlineBacklog, QueuedMessage, spilled_klines
from consumers.redis.checkpoint.load import load_confirmed, with_spilled
from consumers.redis.checkpoint.store import PRUNE_EVERY_S, STALE_AFTER_MS, CheckpointOptions, KlineCheckpoint, is_stale
from consumers.redis.inflight import InFlightQueue
from consumers.redis.kline_queue import KlineSender
from consumers.redis.options import REFUSED_PAUSE_S
from consumers.redis.protocol import Packer, Replies
from model.envelope import Envelope
from model.records import LastPublished
from tests.support.klines import kline, klines

NOW_MS = 1_767_717_000_000
START_MS = kline(0).timestamp
BTC = ("linear", "BTCUSDT", 60_000)
NOWHERE = "redis://127.0.0.1:1/0"  # nothing listens there, and refuses at once


@pytest.fixture
def checkpoint():
    return KlineCheckpoint(CheckpointOptions("bybit-streamer"))


def words(command: bytes) -> list[bytes]:
    """The arguments of one command."""
    return command.split(b"\r\n")[2::2]


def start(number: int) -> int:
    return kline(number).timestamp


def publish(checkpoint, number, **changes):
    """Publish one kline and have it confirmed; returns what was written behind it."""
    pending = checkpoint.stage(klines(number, **changes).json)
    command = checkpoint.command(pending)
    checkpoint.confirm(pending)
    return command


def opened(checkpoint):
    """A checkpoint past the first confirmation of its connection."""
    publish(checkpoint, 0, symbol="FIRST")
    checkpoint.take_commands()
    return checkpoint


def test_command_names_market_symbol_and_interval(checkpoint):
    """One HMSET per message; field SYMBOL:interval_ms, value start,revision,complete."""
    two = Envelope("bybit", "spot", "klines", (kline(1, revision=2), kline(1, symbol="ETHUSDT", complete=False)))
    command = opened(checkpoint).command(checkpoint.stage(two.json))

    assert words(command) == [
        b"HMSET", b"bybit-streamer:last-published:spot",
        b"BTCUSDT:60000", b"%d,2,1" % start(1),
        b"ETHUSDT:60000", b"%d,0,0" % start(1),
    ]  # fmt: skip
    assert command.startswith(b"*6\r\n$5\r\nHMSET\r\n$34\r\n")


def test_newest_kline_is_kept_and_its_revisions(checkpoint):
    """A revision of an older kline does not move it back, one of the newest counts."""
    for number, revision in [(3, 0), (4, 0), (3, 1), (4, 1), (2, 0)]:
        publish(checkpoint, number, revision=revision)

    assert checkpoint.known() == {BTC: LastPublished(start(4), 1, True)}


def test_revision_of_an_older_kline_writes_nothing(checkpoint):
    """Not even to Redis: it would move back what a crash leaves."""
    publish(opened(checkpoint), 4)

    assert publish(checkpoint, 3, revision=1) == b""


def test_month_is_one_key_whatever_its_length(checkpoint):
    """February and March are the same interval; 31 days from another day are not a month."""
    for year, month, days in [(2026, 2, 28), (2026, 3, 31), (2026, 3, 31)]:
        begin_ms = int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
        publish(checkpoint, 0, interval=days * 86_400_000, timestamp=begin_ms)
    publish(checkpoint, 0, interval=31 * 86_400_000, timestamp=int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000))

    assert {key[2] for key in checkpoint.known()} == {0, 31 * 86_400_000}


def test_nothing_counts_before_its_confirmation(checkpoint):
    """What was written and not answered is not known, and is written again when it is sent again."""
    pending = opened(checkpoint).stage(klines(1).json)
    before = checkpoint.command(pending)
    assert BTC not in checkpoint.known()

    checkpoint.lose(pending)
    checkpoint.connected()
    publish(checkpoint, 0, symbol="FIRST")
    assert checkpoint.command(checkpoint.stage(klines(1).json)) == before


def test_new_connection_waits_for_the_first_confirmation_then_writes_everything(checkpoint):
    """A server that lost everything gets everything; one that refuses klines gets nothing."""
    publish(opened(checkpoint), 1)
    checkpoint.connected()
    pending = checkpoint.stage(klines(2).json)
    assert (checkpoint.command(pending), checkpoint.has_commands) == (b"", False)

    checkpoint.confirm(pending)
    (everything,) = checkpoint.take_commands()
    assert words(everything)[2:] == [b"FIRST:60000", b"%d,0,1" % start(0), b"BTCUSDT:60000", b"%d,0,1" % start(2)]


def test_what_was_staged_before_the_first_reply_is_written_after_it(checkpoint):
    """A backlog leaves in one write; its first confirmation must not be all that the hash gets."""
    pending = [checkpoint.stage(klines(number).json) for number in range(3)]
    for one in pending:
        assert checkpoint.command(one) == b""
    checkpoint.confirm(pending[0])
    assert checkpoint.take_commands() == [], "two newer ones are on their way"
    checkpoint.confirm(pending[1])
    checkpoint.confirm(pending[2])

    assert [words(command)[3] for command in checkpoint.take_commands()] == [b"%d,0,1" % start(2)]


def test_what_is_unwritten_never_moves_an_entry_back(checkpoint):
    """One staged before the first reply, the next written behind its message: the older is not written after it."""
    first = checkpoint.stage(klines(1).json)
    opened(checkpoint)
    second = checkpoint.stage(klines(2).json)
    assert checkpoint.command(second)
    checkpoint.confirm(first)

    assert checkpoint.take_commands() == []


def test_what_an_earlier_run_left_is_not_written_over(checkpoint):
    """Redis may have a newer value than the file that the checkpoint began with."""
    checkpoint.restore({BTC: LastPublished(start(1), 0, True)})
    publish(checkpoint, 5, symbol="ETHUSDT")

    assert [words(command)[2:] for command in checkpoint.take_commands()] == [[b"ETHUSDT:60000", b"%d,0,1" % start(5)]]
    assert checkpoint.known()[BTC].start_ms == start(1)


def test_refused_kline_is_taken_back_and_holds_those_after_it(checkpoint):
    """With the third refused and the fourth taken, the second is the last one known; until the third has come."""
    publish(opened(checkpoint), 2)
    third, fourth = checkpoint.stage(klines(3).json), checkpoint.stage(klines(4).json)
    checkpoint.refuse(third)
    checkpoint.confirm(fourth)

    assert words(checkpoint.take_commands()[0]) == [b"HDEL", b"bybit-streamer:last-published:linear", b"BTCUSDT:60000"]
    assert checkpoint.known()[BTC].start_ms == start(2)
    publish(checkpoint, 3)
    assert checkpoint.known()[BTC].start_ms == start(3)


def test_refused_kline_that_never_comes_holds_nothing_for_ever(checkpoint):
    """It went over its age in the backlog: the next one taken counts again."""
    checkpoint.refuse(opened(checkpoint).stage(klines(3).json))
    publish(checkpoint, 7)

    assert checkpoint.known()[BTC].start_ms == start(7)


def test_damaged_message_is_not_staged(checkpoint):
    """A line of the spill file that another program wrote into costs no connection."""
    pending = checkpoint.stage(b'{"channel":"linear","data":[{"symbol":7}]}')
    checkpoint.confirm(pending)

    assert (checkpoint.command(pending), checkpoint.known()) == (b"", {})


def test_sender_writes_the_checkpoint_right_behind_the_message(checkpoint):
    """Main key first, then the klines' channel, then the hash: who finds the hash set can have the klines."""
    sender, in_flight = KlineSender(KlineBacklog(None), "market", opened(checkpoint)), InFlightQueue()
    sender.offer(klines(1))
    sender.offer(klines(2))
    commands, _ = sender.take(Packer(), in_flight, 1_000_000, NOW_MS)

    names = [words(command)[:2] for command in commands]
    one = [[b"PUBLISH", b"market"], [b"PUBLISH", b"stream:bybit_klines"]]
    assert names == [*one, [b"HMSET", b"bybit-streamer:last-published:linear"]] * 2
    sender.settle(in_flight.acknowledge(Replies(count=5)), 0.0)
    assert checkpoint.known()[BTC].start_ms == start(2), "the fifth reply is the second kline's"
    assert in_flight.klines_delivered == 2


def test_sender_confirms_nothing_that_was_lost_or_refused(checkpoint):
    """Both are sent again, and only then confirmed."""
    sender, in_flight = KlineSender(KlineBacklog(None), None, opened(checkpoint)), InFlightQueue()
    sender.offer(klines(1))
    sender.take(Packer(), in_flight, 1_000_000, NOW_MS)
    sender.put_back(in_flight.lose()[1])
    assert BTC not in checkpoint.known()

    sender.take(Packer(), in_flight, 1_000_000, NOW_MS)
    sender.settle(in_flight.acknowledge(Replies(count=2, refused=[(0, "NOPERM")])), now_s=10.0)
    assert BTC not in checkpoint.known()
    assert not sender.is_due(10.0 + REFUSED_PAUSE_S / 2)

    sender.take(Packer(), in_flight, 1_000_000, NOW_MS)
    sender.settle(in_flight.acknowledge(Replies(count=1)), now_s=12.0)
    assert checkpoint.known()[BTC].start_ms == start(1)


def told(noted):
    """What the store was told: type, symbol, number of the minute, revision and completeness."""
    found = [
        (each.data_type, head.symbol, (head.timestamp - START_MS) // 60_000, head.revision, head.complete)
        for each in noted
        for head in each.data
    ]
    noted.clear()
    return found


@pytest.fixture
def noted():
    return []


@pytest.fixture
def noting(noted):
    """A checkpoint with a store."""
    return KlineCheckpoint(CheckpointOptions("p"), noted.append)


def test_what_is_confirmed_is_noted_in_the_store(noting, noted):
    """The newest of each series once, and every revision, of whatever age."""
    for number in (1, 2, 3):
        publish(noting, number)
    publish(noting, 4, revision=3, complete=False)
    publish(noting, 2, revision=1)
    assert noted == []
    noting.note_if_due(100.0, NOW_MS)
    assert told(noted) == [
        ("published", "BTCUSDT", 4, 3, False), ("confirmed", "BTCUSDT", 4, 3, False),
        ("confirmed", "BTCUSDT", 2, 1, True),
    ]  # fmt: skip
    noting.note_if_due(200.0, NOW_MS)
    assert noted == []


def test_what_was_refused_is_not_noted_nor_what_came_after_it(noting, noted):
    """The store must not be ahead of the subscribers."""
    refused, later = noting.stage(klines(1).json), noting.stage(klines(2).json)
    noting.refuse(refused)
    noting.confirm(later)
    noting.note_all()
    assert noted == []
    publish(noting, 1)
    publish(noting, 2)
    noting.note_all()
    assert told(noted) == [("published", "BTCUSDT", 2, 0, True)]


def test_the_store_waits_while_klines_are_being_sent(noting, noted):
    """But not longer than it may lag behind Redis, however long that lasts."""
    seen = []
    for number in range(8):
        publish(noting, number)
        noting.note_if_due(100.0 + number / 16, NOW_MS, is_idle=False)
        seen.append([each[2] for each in told(noted)])
    assert seen == [[], [], [2], [], [], [5], [], []]
    noting.note_if_due(102.3, NOW_MS)
    assert [each[2] for each in told(noted)] == [7]


def test_many_are_noted_in_parts(noting, noted):
    """No envelope is of the whole market."""
    symbols = [f"S{number}" for number in range(2_500)]
    noting.confirm(noting.stage(Envelope("b", "linear", "klines", tuple(kline(1, symbol=s) for s in symbols)).json))
    noting.note_all()
    assert [len(each.data) for each in noted] == [1_000, 1_000, 500]
    assert [each[1] for each in told(noted)] == symbols


def test_the_store_is_told_what_it_lacks_of_an_earlier_run(noting, noted):
    """Of the hash in Redis, or an old file."""
    ours, other = LastPublished(start(1), 0, True), LastPublished(start(2), 0, True)
    noting.restore({BTC: other, ("linear", "ETHUSDT", 60_000): ours}, {("linear", "ETHUSDT", 60_000): ours, BTC: ours})
    noting.note_if_due(100.0, NOW_MS)
    assert told(noted) == [("published", "BTCUSDT", 2, 0, True)]


def test_what_is_long_no_longer_collected_goes():
    """A delisted symbol leaves memory and Redis; a month's kline is not old after a month."""
    checkpoint = KlineCheckpoint(CheckpointOptions("p"))
    later_ms = START_MS + STALE_AFTER_MS + 120_000
    publish(checkpoint, 0, symbol="GONE")
    pending = checkpoint.stage(klines(0, symbol="HERE", timestamp=later_ms - 60_000).json)
    checkpoint.confirm(pending)
    checkpoint.take_commands()
    checkpoint.note_if_due(2 * PRUNE_EVERY_S, later_ms)

    assert [key[1] for key in checkpoint.known()] == ["HERE"]
    assert [words(command) for command in checkpoint.take_commands()] == [
        [b"HDEL", b"p:last-published:linear", b"GONE:60000"]
    ]
    marks = {
        ("linear", symbol, 60_000): LastPublished(at, 0, True)
        for symbol, at in (("GONE", start(0)), ("HERE", later_ms))
    }
    assert [key[1] for key in load_confirmed(NOWHERE, "p", [], marks, later_ms)] == ["HERE"]
    assert not is_stale(0, START_MS, START_MS + STALE_AFTER_MS + 20 * 86_400_000)


def test_klines_that_wait_on_disk_are_as_good_as_published(tmp_path):
    """They leave before any new one; damaged and over-aged lines do not count."""
    spill = tmp_path / "klines.jsonl"
    items = [QueuedMessage(NOW_MS, 1, "stream:bybit_klines", klines(number).json) for number in (5, 6)]
    main_key = QueuedMessage(NOW_MS, 0, "market", klines(9).json)
    old = QueuedMessage(1, 1, "stream:bybit_klines", klines(8).json)
    spill.write_bytes(b"".join(item.line() for item in (old, *items, main_key)) + b"1 1 x {cut")

    known = with_spilled({BTC: LastPublished(start(3), 0, True)}, spilled_klines(spill, NOW_MS))
    assert known == {BTC: LastPublished(start(6), 0, True)}
    assert list(spilled_klines(tmp_path / "none", NOW_MS)) == list(spilled_klines(None, NOW_MS)) == []


def test_without_options_there_is_no_checkpoint(noted):
    """No command, no note."""
    checkpoint = KlineCheckpoint(None, noted.append)
    publish(checkpoint, 1)
    publish(checkpoint, 2)
    checkpoint.note_all()

    assert (len(checkpoint), checkpoint.has_commands, checkpoint.known(), noted) == (0, False, {}, [])


def test_another_thread_may_count_the_entries(checkpoint):
    """The status line does, while new symbols come."""
    over = threading.Event()
    failed: list[RuntimeError] = []

    def count():
        while not over.is_set() and not failed:
            try:
                len(checkpoint)
            except RuntimeError as error:
                failed.append(error)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=count)
    thread.start()
    try:
        for number in range(3_000):
            checkpoint.stage(klines(0, symbol=f"S{number}").json)
    finally:
        over.set()
        thread.join(5)
        sys.setswitchinterval(interval_s)
    assert not failed
    assert len(checkpoint) == 3_000
