"""What is in the store: klines whole, the highest revision, the journal; and what is refused."""

import itertools
import sqlite3
from contextlib import closing
from decimal import Decimal

import msgspec
import pytest
from structlog.testing import capture_logs

from consumers.store import writer
from consumers.store.schema import StoreInUseError, StoreRefusedError
from model.envelope import Envelope
from model.intervals import DAY_MS, MINUTE_MS, MONTH, month_start
from model.ports import StoreError
from tests.support.klines import kline, klines, price

FIRST_MS = kline().timestamp
BTC = "linear", "BTCUSDT", MINUTE_MS


def envelope(*data, data_type="klines"):
    return Envelope("bybit", "linear", data_type, data)


def event(number=0, name="gap", **fields):
    return envelope({"event": name, "ts": FIRST_MS + number, **fields}, data_type="status")


def journal(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT ts, event, record FROM journal ORDER BY id").fetchall()


def test_what_is_written_is_read_to_the_last_digit(store):
    """A kline of the store is the kline of the envelope, trailing zeros and all."""
    odd = kline(1, open=Decimal("0.00000010"), volume=Decimal("1E+3"), turnover=Decimal("123456789012345678.123456789"))
    store.deliver([envelope(kline(), odd)])
    found = store.reader.klines(*BTC)
    assert found == [kline(), odd]
    assert [str(each.open) for each in found] == ["92967.8", "1.0E-7"]


@pytest.mark.parametrize(("first", "second", "wins"), [(0, 1, 1), (1, 0, 0), (2, 2, 1)])
def test_the_highest_revision_wins(store, first, second, wins):
    """Whatever the order in which revisions come; of two of one number, the later."""
    issued = [
        kline(revision=first, complete=False, close=Decimal(1)),
        kline(revision=second, source="exchange", close=Decimal(2)),
    ]
    for each in issued:
        store.deliver([envelope(each)])
    assert store.reader.klines(*BTC) == [issued[wins]]


def test_a_span_and_a_number_choose_the_newest(store):
    """`start_ms` belongs to a span, `end_ms` does not; of more than `limit` the newest are returned, oldest first."""
    store.deliver([envelope(*(kline(number) for number in range(10)))])
    read = store.reader.klines
    assert [each.timestamp for each in read(*BTC, FIRST_MS + MINUTE_MS, FIRST_MS + 4 * MINUTE_MS)] == [
        FIRST_MS + number * MINUTE_MS for number in (1, 2, 3)
    ]
    assert read(*BTC, limit=2) == [kline(8), kline(9)]
    assert read(*BTC, limit=0) == []
    assert read("linear", "ETHUSDT", MINUTE_MS) == []
    assert read("spot", "BTCUSDT", MINUTE_MS) == []
    assert store.reader.first_ms(*BTC) == FIRST_MS
    assert store.reader.first_ms("linear", "ETHUSDT", MINUTE_MS) is None


def test_more_klines_than_a_page_are_all_there(store):
    """They are decoded some at a time."""
    many = [kline(number) for number in range(2_500)]
    store.deliver([envelope(*many)])
    assert store.reader.klines(*BTC) == many
    assert store.reader.klines(*BTC, limit=2_001) == many[-2_001:]


def test_rows_are_written_in_the_form_that_is_asked_for(store):
    """Newest first, as an exchange has them, or oldest first; with what they are."""
    store.deliver([envelope(kline(0), kline(1, complete=False), kline(2, source="exchange", revision=3))])
    form = ('["', "timestamp", '","', "open", "\",'", "source", "',", "complete", ",", "revision", "]")
    rows = store.reader.rows(*BTC, form, limit=2, newest_first=True)
    third, second = FIRST_MS + 2 * MINUTE_MS, FIRST_MS + MINUTE_MS
    assert rows.text == (f'["{third}","92967.8",\'exchange\',true,3],["{second}","92967.8",\'trades\',false,0]')
    assert (rows.count, rows.complete, rows.first_ms, rows.last_ms) == (2, 1, second, third)
    assert store.reader.rows(*BTC, form, end_ms=FIRST_MS).text == ""
    assert store.reader.rows(*BTC, ("", "timestamp", "")).text == f"{FIRST_MS},{second},{third}"
    assert store.reader.rows(*BTC, ("100% 'so' ", "timestamp"), limit=1).text == f"100% 'so' {third}"


def test_a_month_is_a_step_of_its_own(store):
    """Its length varies, and comes back with it; thirty days that are no month are another series."""
    begins = [month_start(FIRST_MS, number) for number in range(4)]
    months = [kline(timestamp=begin, interval=end - begin) for begin, end in itertools.pairwise(begins)]
    days = kline(timestamp=begins[0] + DAY_MS, interval=30 * DAY_MS)
    store.deliver([envelope(*months, days)])
    assert store.reader.klines("linear", "BTCUSDT", MONTH) == months
    assert store.reader.klines("linear", "BTCUSDT", 30 * DAY_MS) == [days]


def test_numbers_are_exact_where_sqlite_has_no_arrows(store, monkeypatch):
    """SQLite below 3.38 cannot give a number as it is written: the numbers are handed over as texts."""
    odd = kline(open=Decimal("0.10"), volume=Decimal("-0.0"), turnover=Decimal("123456789012345678.123456789"))
    monkeypatch.setattr(writer, "HAS_ARROWS", False)
    arrows = {name: f"e.value -> '$.{name}'" for name in writer.NUMBERS}
    statement = writer.ADD_KLINES
    for name, arrow in arrows.items():
        statement = statement.replace(arrow, f"json_extract(e.value, '$.{name}')")
    monkeypatch.setattr(writer, "ADD_KLINES", statement)
    store.deliver([envelope(odd)])
    (found,) = store.reader.klines(*BTC)
    assert (str(found.open), str(found.volume), found.turnover) == ("0.10", "-0.0", odd.turnover)


def test_the_journal_has_status_events_and_results_of_the_audit(store, path):
    """In their order, as JSON; other envelopes are not for the store."""
    result = envelope({"event": "audit", "ts": 2, "equal": 3}, data_type="audit")
    store.deliver([event(0, "gap", symbols=["BTCUSDT"]), price(), result])
    assert journal(path) == [
        (FIRST_MS, "gap", f'{{"exchange":"bybit","event":"gap","ts":{FIRST_MS},"symbols":["BTCUSDT"]}}'),
        (2, "audit", '{"exchange":"bybit","event":"audit","ts":2,"equal":3}'),
    ]


def test_a_record_that_cannot_be_written_costs_itself_alone(store):
    """A kline of an unknown source is refused, counted and logged; its neighbours are there."""
    with capture_logs() as logs:
        store.deliver([klines(0), envelope(kline(1, source="?")), klines(2)])
    assert store.reader.klines(*BTC) == [kline(0), kline(2)]
    assert (store.counters()["klines"], store.counters()["records_refused"]) == (2, 1)
    assert [each["event"] for each in logs] == ["store_record_refused"]
    assert store.trouble is None


def test_a_record_that_is_no_text_costs_its_neighbours_nothing(store):
    """An error that has a file's odd name would take klines of the same batch with it."""
    with capture_logs() as logs:
        store.deliver([envelope(kline()), event(error="\udce4.csv"), envelope(kline(1)), event()])
    assert store.reader.klines(*BTC) == [kline(), kline(1)]
    assert len(journal(store.reader._path)) == 1
    assert (store.counters()["records_refused"], [each["event"] for each in logs]) == (1, ["store_record_refused"])


def test_what_was_written_is_there_after_a_restart(open_store, path):
    """And goes on growing, with the same series."""
    first = open_store()
    first.deliver([klines(0)])
    first.stop()
    with pytest.raises(StoreError, match="not open"):
        first.reader.klines(*BTC)
    second = open_store()
    second.deliver([klines(1)])
    assert second.reader.klines(*BTC) == [kline(0), kline(1)]


def test_a_second_collector_does_not_write_the_file_of_the_first(open_store, path, clock):
    """It says which setting makes room for it, and has the file when the first ends."""
    first = open_store()
    with capture_logs() as logs:
        second = open_store()
        second.deliver([klines()])
        assert isinstance(second.trouble, StoreInUseError)
        assert "KLINE_STORE_PATH" in logs[0]["sentence"]
        with pytest.raises(StoreError):
            second.reader.klines(*BTC)
        first.stop()
        clock.now_s += 10
        second.tick()
    assert second.trouble is None
    assert second.reader.klines(*BTC) == [kline()]


@pytest.mark.parametrize(
    ("change", "says"),
    [("PRAGMA user_version = 99", "newer version"), ("PRAGMA application_id = 7", "another program")],
)
def test_a_file_that_is_not_this_versions_is_left_as_it_is(open_store, path, change, says):
    """The sentence names the file and what to do."""
    open_store().stop()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.execute("PRAGMA journal_mode = DELETE")
    before = path.read_bytes()
    with capture_logs() as logs:
        store = open_store()
        store.deliver([klines()])
        store.stop()
    assert isinstance(store.trouble, StoreRefusedError)
    assert says in logs[0]["sentence"]
    assert str(path) in logs[0]["sentence"]
    assert "KLINE_STORE_PATH" in logs[0]["sentence"]
    assert logs[-1] == {"event": "store_records_lost", "log_level": "error", "records": 1}
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_set_aside(open_store, path):
    """Under a name that has the time in it; a new one is begun."""
    path.parent.mkdir()
    path.write_bytes(b"not a database, but as long as the header of one" * 100)
    with capture_logs() as logs:
        store = open_store()
    store.deliver([klines()])
    assert store.reader.klines(*BTC) == [kline()]
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes().startswith(b"not a database")
    assert aside.name in logs[0]["sentence"]
    assert store.counters()["files_set_aside"] == 1


def test_a_file_that_is_damaged_while_it_is_written_is_set_aside(open_store, path, clock):
    """What was to be written goes to the new one."""
    store = open_store()
    store.deliver([envelope(*(kline(number) for number in range(3_000)))])
    store.stop()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    store = open_store()
    with capture_logs():
        store.deliver([klines(2_999)])
        clock.now_s += 10
        store.tick()
    assert store.reader.klines(*BTC) == [kline(2_999)]
    assert len([*path.parent.glob("*.damaged-*.sqlite")]) == 1
    assert store.trouble is None


def test_a_reader_that_finds_damage_has_the_file_set_aside(open_store, path, clock):
    """The writer may not look there for a long time."""
    store = open_store()
    store.deliver([envelope(*(kline(number) for number in range(3_000)))])
    store.stop()
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    path.write_bytes(content)
    store = open_store()
    with pytest.raises(StoreError, match="malformed"):
        store.reader.klines(*BTC)
    with capture_logs():
        store.tick()
        clock.now_s += 10
        store.deliver([klines(5)])
    assert store.reader.klines(*BTC) == [kline(5)]


def test_a_folder_that_was_removed_is_made_anew(store, path, clock):
    """A person who cleans up does not end the store."""
    store.deliver([klines(0)])
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
    with capture_logs() as logs:
        store.tick()
    store.deliver([klines(1)])
    assert [each["event"] for each in logs] == ["store_file_gone"]
    assert store.reader.klines(*BTC) == [kline(1)]


def test_a_file_that_another_program_locks_is_tried_again(store, path, clock):
    """What waits is written when the lock is gone, and the output was in trouble as long."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other, capture_logs() as logs:
        other.execute("BEGIN IMMEDIATE")
        store.deliver([klines(0)])
        assert "locked" in str(store.trouble)
        assert store.reader.klines(*BTC) == []
        other.execute("ROLLBACK")
        store.deliver([klines(1)])  # too soon for another attempt
        assert store.reader.klines(*BTC) == []
        clock.now_s += 10
        store.tick()
    assert store.trouble is None
    assert store.reader.klines(*BTC) == [kline(0), kline(1)]
    assert [each["event"] for each in logs] == ["store_down", "store_up"]


def test_what_waits_for_a_disk_is_bounded(open_store, path, clock):
    """The oldest are dropped, and counted."""
    store = open_store(pending_bytes=2_000)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, capture_logs():
        other.execute("BEGIN IMMEDIATE")
        for number in range(10):
            store.deliver([klines(number)])
        other.execute("ROLLBACK")
        clock.now_s += 10
        store.tick()
    found = store.reader.klines(*BTC)
    assert found == [kline(number) for number in range(10 - len(found), 10)]
    assert 0 < len(found) == 10 - store.counters()["records_dropped"]


def test_klines_and_records_over_their_days_are_removed(open_store, path, monkeypatch):
    """Some at a time, all in the end; what is younger stays."""
    store = open_store(days=1)
    store.deliver([envelope(*(kline(number) for number in range(3_000))), event(0), event(2_999 * MINUTE_MS)])
    monkeypatch.setattr("consumers.store.store.now_ms", lambda: FIRST_MS + 2_000 * MINUTE_MS + DAY_MS)
    store.tick()
    assert store.reader.first_ms(*BTC) == FIRST_MS + 2_000 * MINUTE_MS
    assert store.counters()["removed"] == 2_001
    assert [ts for ts, _, _ in journal(path)] == [FIRST_MS + 2_999 * MINUTE_MS]


def test_the_oldest_are_removed_while_the_file_is_over_its_size(open_store, path, monkeypatch):
    """Counted in candles: minutes go before days. The file is no larger than its limit then."""
    store = open_store(max_gb=0.0005)
    minutes = [kline(number, symbol=symbol) for number in range(6_000) for symbol in ("BTCUSDT", "ETHUSDT")]
    days = [kline(timestamp=FIRST_MS - number * DAY_MS, interval=DAY_MS) for number in range(100)]
    store.deliver([envelope(*minutes[first : first + 1_000]) for first in range(0, len(minutes), 1_000)])
    store.deliver([envelope(*days)])
    monkeypatch.setattr("consumers.store.store.now_ms", lambda: FIRST_MS + 6_000 * MINUTE_MS)
    for _ in range(100):
        store.tick()
    with closing(sqlite3.connect(path)) as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    assert 400_000 < pages * 4096 <= 500_000
    assert store.reader.klines(*BTC)[-1] == kline(5_999)
    first = {store.reader.first_ms("linear", symbol, MINUTE_MS) for symbol in ("BTCUSDT", "ETHUSDT")}
    assert len(first) == 1
    assert first != {FIRST_MS}
    assert len(store.reader.klines("linear", "BTCUSDT", DAY_MS)) == 100


def test_another_process_reads_what_is_written(store, path):
    """A view for people: market, symbol, step, and source in words."""
    store.deliver([klines(0, source="exchange")])
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        (row,) = connection.execute("SELECT * FROM candles WHERE symbol = 'BTCUSDT' AND step_ms = 60000")
    told = msgspec.to_builtins(kline(source="exchange"), builtin_types=(Decimal,))
    assert {name: row[name] for name in ("open", "volume", "trade_count", "complete", "source", "revision")} == {
        name: str(value) if isinstance(value, Decimal) else value
        for name, value in told.items()
        if name in ("open", "volume", "trade_count", "complete", "source", "revision")
    }
    assert (row["market"], row["start_ms"]) == ("linear", FIRST_MS)


def test_the_series_and_the_journal_are_listed(store):
    """Series with their ends; of the journal the newest, or what came after an id."""
    called = []
    store.reader.on_commit(lambda: called.append(len(store.reader.series())))
    store.deliver([envelope(kline(0), kline(3), kline(1, symbol="ETHUSDT"))])
    store.deliver([event(number) for number in range(4)])
    assert called == [2]
    assert store.reader.series() == [
        ("linear", "BTCUSDT", MINUTE_MS, FIRST_MS, FIRST_MS + 3 * MINUTE_MS),
        ("linear", "ETHUSDT", MINUTE_MS, FIRST_MS + MINUTE_MS, FIRST_MS + MINUTE_MS),
    ]
    assert [number for number, _ in store.reader.journal(limit=2)] == [3, 4]
    assert [number for number, _ in store.reader.journal(1, limit=2)] == [2, 3]
    assert store.reader.journal(4) == []
