"""The memory of what was published last: what moves it, what it writes, what a restart finds."""

import sys
import threading
from datetime import UTC, datetime

import msgspec
import pytest

from consumers.redis.backlog import KlineBacklog, Waiting
from consumers.redis.checkpoint.entries import KEEP_MS, LastPublished, is_stale
from consumers.redis.checkpoint.files import load_recent
from consumers.redis.checkpoint.load import load_published, with_waiting
from consumers.redis.checkpoint.store import PRUNE_EVERY_S, PublishedMemory, PublishedOptions
from consumers.redis.inflight import InFlight
from consumers.redis.kline_queue import REFUSED_PAUSE_S, KlineLane
from consumers.redis.protocol import Packer, Replies
from model.envelope import Envelope
from tests.support.klines import kline, klines

NOW_MS = 1_767_717_000_000
START_MS = kline(0).timestamp
BTC = ("linear", "BTCUSDT", 60_000)
NOWHERE = "redis://127.0.0.1:1/0"  # nothing listens there, and refuses at once


@pytest.fixture
def memory():
    return PublishedMemory(PublishedOptions("bybit-streamer"))


def words(command: bytes) -> list[bytes]:
    """The words of one command."""
    return command.split(b"\r\n")[2::2]


def start(number: int) -> int:
    return kline(number).timestamp


def tell(memory, number, **changes):
    """Publish one kline and have it confirmed; returns what was written behind it."""
    noted = memory.note(klines(number, **changes).json)
    command = memory.command(noted)
    memory.confirm(noted)
    return command


def opened(memory):
    """A memory past the first confirmation of its connection."""
    tell(memory, 0, symbol="FIRST")
    memory.orders()
    return memory


def test_command_names_market_symbol_and_interval(memory):
    """One HMSET per message; field SYMBOL:interval_ms, value start,revision,complete."""
    two = Envelope("bybit", "spot", "klines", (kline(1, revision=2), kline(1, symbol="ETHUSDT", complete=False)))
    command = opened(memory).command(memory.note(two.json))

    assert words(command) == [
        b"HMSET", b"bybit-streamer:last-published:spot",
        b"BTCUSDT:60000", b"%d,2,1" % start(1),
        b"ETHUSDT:60000", b"%d,0,0" % start(1),
    ]  # fmt: skip
    assert command.startswith(b"*6\r\n$5\r\nHMSET\r\n$34\r\n")


def test_newest_kline_is_remembered_and_its_revisions(memory):
    """A revision of an older kline does not move it back, one of the newest counts."""
    for number, revision in [(3, 0), (4, 0), (3, 1), (4, 1), (2, 0)]:
        tell(memory, number, revision=revision)

    assert memory.known() == {BTC: LastPublished(start(4), 1, True)}


def test_revision_of_an_older_kline_writes_nothing(memory):
    """Not even to Redis: it would move back what a crash leaves."""
    tell(opened(memory), 4)

    assert tell(memory, 3, revision=1) == b""


def test_month_is_one_place_whatever_its_length(memory):
    """February and March are the same interval; 31 days from another day are not a month."""
    for year, month, days in [(2026, 2, 28), (2026, 3, 31), (2026, 3, 31)]:
        begin_ms = int(datetime(year, month, 1, tzinfo=UTC).timestamp() * 1000)
        tell(memory, 0, interval=days * 86_400_000, timestamp=begin_ms)
    tell(memory, 0, interval=31 * 86_400_000, timestamp=int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000))

    assert {key[2] for key in memory.known()} == {0, 31 * 86_400_000}


def test_nothing_counts_before_its_confirmation(memory):
    """What was written and not answered is not known, and is written again when it is sent again."""
    noted = opened(memory).note(klines(1).json)
    before = memory.command(noted)
    assert BTC not in memory.known()

    memory.lose(noted)
    memory.connected()
    tell(memory, 0, symbol="FIRST")
    assert memory.command(memory.note(klines(1).json)) == before


def test_new_connection_waits_for_the_first_confirmation_then_writes_everything(memory):
    """A server that forgot all is told all; one that refuses klines is told nothing."""
    tell(opened(memory), 1)
    memory.connected()
    noted = memory.note(klines(2).json)
    assert (memory.command(noted), memory.has_orders) == (b"", False)

    memory.confirm(noted)
    (everything,) = memory.orders()
    assert words(everything)[2:] == [b"FIRST:60000", b"%d,0,1" % start(0), b"BTCUSDT:60000", b"%d,0,1" % start(2)]


def test_what_was_noted_while_held_is_written_in_its_turn(memory):
    """A backlog leaves in one write; its first confirmation must not be all that Redis learns."""
    noted = [memory.note(klines(number).json) for number in range(3)]
    for one in noted:
        assert memory.command(one) == b""
    memory.confirm(noted[0])
    assert memory.orders() == [], "two newer ones are on their way"
    memory.confirm(noted[1])
    memory.confirm(noted[2])

    assert [words(order)[3] for order in memory.orders()] == [b"%d,0,1" % start(2)]


def test_what_is_owed_never_moves_it_back(memory):
    """One noted while held, the next written behind its message: the older is not written after it."""
    first = memory.note(klines(1).json)
    opened(memory)
    second = memory.note(klines(2).json)
    assert memory.command(second)
    memory.confirm(first)

    assert memory.orders() == []


def test_what_an_earlier_run_left_is_not_written_over(memory):
    """Redis may have a newer value than the file that the memory began with."""
    memory.seed({BTC: LastPublished(start(1), 0, True)})
    tell(memory, 5, symbol="ETHUSDT")

    assert [words(order)[2:] for order in memory.orders()] == [[b"ETHUSDT:60000", b"%d,0,1" % start(5)]]
    assert memory.known()[BTC].start_ms == start(1)


def test_refused_kline_is_taken_back_and_holds_those_after_it(memory):
    """With the third refused and the fourth taken, the second is the last one known; until the third has come."""
    tell(opened(memory), 2)
    third, fourth = memory.note(klines(3).json), memory.note(klines(4).json)
    memory.refuse(third)
    memory.confirm(fourth)

    assert words(memory.orders()[0]) == [b"HDEL", b"bybit-streamer:last-published:linear", b"BTCUSDT:60000"]
    assert memory.known()[BTC].start_ms == start(2)
    tell(memory, 3)
    assert memory.known()[BTC].start_ms == start(3)


def test_refused_kline_that_never_comes_holds_nothing_for_ever(memory):
    """It went over its age in the backlog: the next one taken counts again."""
    memory.refuse(opened(memory).note(klines(3).json))
    tell(memory, 7)

    assert memory.known()[BTC].start_ms == start(7)


def test_damaged_message_is_not_remembered(memory):
    """A line of the disk that somebody wrote into costs no connection."""
    noted = memory.note(b'{"channel":"linear","data":[{"symbol":7}]}')
    memory.confirm(noted)

    assert (memory.command(noted), memory.known()) == (b"", {})


def test_lane_writes_the_memory_right_behind_the_message(memory):
    """Main key first, then the klines' channel, then the hash: whoever finds the hash, all have the klines."""
    lane, flight = KlineLane(KlineBacklog(None), "market", opened(memory)), InFlight()
    lane.offer(klines(1))
    lane.offer(klines(2))
    commands, _ = lane.take(Packer(), flight, 1_000_000, NOW_MS)

    names = [words(command)[:2] for command in commands]
    one = [[b"PUBLISH", b"market"], [b"PUBLISH", b"stream:bybit_klines"]]
    assert names == [*one, [b"HMSET", b"bybit-streamer:last-published:linear"]] * 2
    lane.settle(flight.answer(Replies(count=5)), 0.0)
    assert memory.known()[BTC].start_ms == start(2), "the fifth reply is the second kline's"
    assert flight.klines_delivered == 2


def test_lane_forgets_what_was_lost_or_refused(memory):
    """Both are sent again, and only then remembered."""
    lane, flight = KlineLane(KlineBacklog(None), None, opened(memory)), InFlight()
    lane.offer(klines(1))
    lane.take(Packer(), flight, 1_000_000, NOW_MS)
    lane.put_back(flight.lose()[1])
    assert BTC not in memory.known()

    lane.take(Packer(), flight, 1_000_000, NOW_MS)
    lane.settle(flight.answer(Replies(count=2, refused=[(0, "NOPERM")])), now_s=10.0)
    assert BTC not in memory.known()
    assert not lane.is_due(10.0 + REFUSED_PAUSE_S / 2)

    lane.take(Packer(), flight, 1_000_000, NOW_MS)
    lane.settle(flight.answer(Replies(count=1)), now_s=12.0)
    assert memory.known()[BTC].start_ms == start(1)


def test_file_and_back(tmp_path):
    """What is confirmed is in the file, at most once a second, and a restart reads it."""
    options = PublishedOptions("p", tmp_path / "state" / "published.json")
    memory = PublishedMemory(options)
    tell(memory, 1, revision=3, complete=False)
    memory.save_if_due(100.0, NOW_MS)
    tell(memory, 2)
    memory.save_if_due(100.5, NOW_MS)
    assert load_published(NOWHERE, options, ["linear"], NOW_MS) == {BTC: LastPublished(start(1), 3, False)}

    memory.save_if_due(101.1, NOW_MS)
    assert load_published(NOWHERE, options, ["linear"], NOW_MS) == {BTC: LastPublished(start(2), 0, True)}
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["published.json", "published.recent.jsonl"]


def test_disk_waits_while_klines_are_being_sent(tmp_path):
    """But not longer than the files may lag behind Redis, however long that lasts."""
    options = PublishedOptions("p", tmp_path / "published.json")
    memory = PublishedMemory(options)
    seen = []
    for number in range(12):
        tell(memory, number)
        memory.save_if_due(100.0 + number / 8, NOW_MS, is_idle=False)
        seen.append((len(load_recent(options.recent_path)), (tmp_path / "published.json").exists()))
    assert seen[:3] == [(0, False), (2, False), (2, False)]
    assert [is_there for _, is_there in seen].index(True) == 8

    memory.save_if_due(102.3, NOW_MS)
    assert len(load_recent(options.recent_path)) > 1
    assert load_published(NOWHERE, options, [], NOW_MS)[BTC].start_ms == start(11)


@pytest.mark.parametrize("content", [b"", b"{", b'{"linear":[{"symbol":1}]}', b"\xff\xfe", b"[1]"])
def test_unreadable_file_counts_as_empty(tmp_path, content):
    """The collector starts all the same."""
    path = tmp_path / "published.json"
    path.write_bytes(content)

    assert load_published(NOWHERE, PublishedOptions("p", path), ["linear"], NOW_MS) == {}


def test_failing_disk_is_counted_and_tried_again(tmp_path):
    """The publisher goes on."""
    (tmp_path / "in_the_way").write_text("")
    memory = PublishedMemory(PublishedOptions("p", tmp_path / "in_the_way" / "published.json"))
    tell(memory, 1)
    memory.save_if_due(100.0, NOW_MS)
    memory.save_if_due(102.0, NOW_MS)

    assert memory.save_errors == 2


def test_what_is_long_no_longer_collected_goes(tmp_path):
    """A delisted symbol leaves memory, file and Redis; a month's kline is not old after a month."""
    options = PublishedOptions("p", tmp_path / "published.json")
    memory = PublishedMemory(options)
    later_ms = START_MS + KEEP_MS + 120_000
    tell(memory, 0, symbol="GONE")
    noted = memory.note(klines(0, symbol="HERE", timestamp=later_ms - 60_000).json)
    memory.confirm(noted)
    memory.orders()
    memory.save_if_due(2 * PRUNE_EVERY_S, later_ms)

    assert [key[1] for key in memory.known()] == ["HERE"]
    assert [words(order) for order in memory.orders()] == [[b"HDEL", b"p:last-published:linear", b"GONE:60000"]]
    assert [key[1] for key in load_published(NOWHERE, options, [], later_ms)] == ["HERE"]
    assert not is_stale(0, START_MS, START_MS + KEEP_MS + 20 * 86_400_000)


def test_klines_that_wait_on_disk_are_as_good_as_published(tmp_path):
    """They leave before any new one; damaged and over-aged lines do not count."""
    spill = tmp_path / "klines.jsonl"
    items = [Waiting(NOW_MS, 1, "stream:bybit_klines", klines(number).json) for number in (5, 6)]
    main_key = Waiting(NOW_MS, 0, "market", klines(9).json)
    old = Waiting(1, 1, "stream:bybit_klines", klines(8).json)
    spill.write_bytes(b"".join(item.line() for item in (old, *items, main_key)) + b"1 1 x {cut")

    known = with_waiting({BTC: LastPublished(start(3), 0, True)}, spill, NOW_MS)
    assert known == {BTC: LastPublished(start(6), 0, True)}
    assert with_waiting({}, tmp_path / "none", NOW_MS) == with_waiting({}, None, NOW_MS) == {}


def test_nothing_is_remembered_where_nothing_is_asked_for(tmp_path):
    """No command, no file."""
    memory = PublishedMemory(None)
    tell(memory, 1)
    tell(memory, 2)
    memory.save()

    assert (len(memory), memory.has_orders, memory.known()) == (0, False, {})


def test_file_is_what_people_can_read(tmp_path):
    """JSON: market, then a list with symbol, interval, start, complete and revision."""
    memory = PublishedMemory(PublishedOptions("p", tmp_path / "published.json"))
    tell(memory, 1)
    memory.save()

    (issue,) = msgspec.json.decode((tmp_path / "published.json").read_bytes())["linear"]
    assert issue == {
        "symbol": "BTCUSDT", "interval": 60_000, "timestamp": start(1), "complete": True, "revision": 0,
    }  # fmt: skip


def test_another_thread_may_ask_how_much_is_known(memory):
    """The status line does, while new symbols come."""
    over = threading.Event()
    failed: list[RuntimeError] = []

    def ask():
        while not over.is_set() and not failed:
            try:
                len(memory)
            except RuntimeError as error:
                failed.append(error)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for number in range(3_000):
            memory.note(klines(0, symbol=f"S{number}").json)
    finally:
        over.set()
        thread.join(5)
        sys.setswitchinterval(interval_s)
    assert not failed
    assert len(memory) == 3_000
