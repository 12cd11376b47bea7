"""Parquet: its files, its types, and what a crash or a disk costs."""

import importlib.util
import json
import os
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from structlog.testing import capture_logs

from consumers.files import parquet_parts
from consumers.files.parquet import ParquetConsumer, ParquetOptions
from exchanges.okx import records as okx
from exchanges.registry import VENUES
from model.envelope import Envelope
from tests.support.clock import FakeClock
from tests.support.klines import kline, klines, price

TRADE = {
    "T": 1767716999877, "s": "BTCUSDT", "S": "Sell", "v": "0.100", "p": "92792.00", "L": "MinusTick",
    "i": "ffe924d3", "BT": False, "RPI": True, "seq": 508178141815, "new": 1,
}  # fmt: skip
TICKER = {
    "symbol": "BTCUSDT", "tickDirection": "PlusTick", "lastPrice": Decimal("92792.1"), "openInterest": 51295,
    "preOpenPrice": "", "nextFundingTime": 1767744000000, "curPreListingPhase": "", "brandNew": Decimal("1.5"),
}  # fmt: skip


OTHERS = {"trades": okx.TRADE_NAMES, "ticker": okx.TICKER_NAMES}


class Clock:
    """The time of day that the output has; it stands until a test moves it."""

    at = datetime.min


@pytest.fixture
def clock():
    Clock.at = datetime(2026, 1, 12, 15, 59, 58, tzinfo=UTC)
    return Clock


def names_of(exchange: str, data_type: str) -> Mapping[str, str]:
    return VENUES[exchange].record_names.get(data_type, {}) if exchange == "bybit" else OTHERS.get(data_type, {})


def made(base: Path, **options: object) -> ParquetConsumer:
    options = {"names_of": names_of, **options}
    consumer = ParquetConsumer(ParquetOptions(base, **options), lambda: Clock.at)  # type: ignore[arg-type]
    consumer.validate()
    consumer.setup()
    return consumer


def files(base: Path) -> list[str]:
    found = (path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith(".parts"))


def parts(base: Path) -> list[Path]:
    return sorted(base.glob(".parts/*/*/*/*/*/*.arrow"))


def rows(base: Path, name: str) -> list[dict[str, Any]]:
    return list(pyarrow.parquet.ParquetFile(base / name).read().to_pylist())


def test_a_file_per_symbol_type_and_hour(tmp_path, clock):
    """Readers choose by path; nothing appears before its hour is over."""
    consumer = made(tmp_path)
    consumer.deliver([klines(), price(), price("1", "ETHUSDT")])
    consumer.tick()
    assert files(tmp_path) == []
    clock.at += timedelta(seconds=3)
    consumer.deliver([price("2", "ETHUSDT")])
    consumer.tick()
    assert files(tmp_path) == [
        "bybit/linear/klines/BTCUSDT/20260112_15.parquet",
        "bybit/linear/price/BTCUSDT/20260112_15.parquet",
        "bybit/linear/price/ETHUSDT/20260112_15.parquet",
    ]
    consumer.stop()
    assert "bybit/linear/price/ETHUSDT/20260112_16.parquet" in files(tmp_path)
    assert consumer.counters()["rows"] == 4


def test_records_of_another_exchange_have_the_same_columns(tmp_path, clock):
    """By the common names; times may be texts there, and what has no common name is in `extra`."""
    trade = {"symbol": "BTC-USDT-SWAP", "instId": "BTC-USDT-SWAP", "tradeId": "734864333", "px": "102537.9"}
    trade |= {"sz": "0.5", "side": "sell", "ts": "1767716999877", "count": "2"}
    ticker = {"symbol": "BTC-USDT-SWAP", "last": Decimal("1.5"), "askPx": Decimal(2), "sodUtc0": Decimal(3)}
    consumer = made(tmp_path)
    consumer.deliver([Envelope("okx", "linear", "trades", (trade,)), Envelope("okx", "linear", "ticker", (ticker,))])
    consumer.stop()
    (row,) = rows(tmp_path, "okx/linear/trades/BTC-USDT-SWAP/20260112_15.parquet")
    assert row["timestamp"] == datetime(2026, 1, 6, 16, 29, 59, 877000, tzinfo=UTC)
    assert (row["price"], row["size"], row["side"]) == (Decimal("102537.9"), Decimal("0.5"), "sell")
    assert (row["trade_id"], row["extra"]) == ("734864333", '{"count": "2", "instId": "BTC-USDT-SWAP"}')
    (row,) = rows(tmp_path, "okx/linear/ticker/BTC-USDT-SWAP/20260112_15.parquet")
    assert (row["lastPrice"], row["ask1Price"], row["extra"]) == (1.5, 2.0, '{"sodUtc0": "3"}')


def test_klines_are_exact(tmp_path, clock):
    """33.404285 is 33.404285, the start a time, and every field is there."""
    consumer = made(tmp_path)
    consumer.deliver([klines()])
    consumer.stop()
    (row,) = rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")
    assert row.pop("received") == clock.at
    assert row.pop("timestamp") == datetime(2026, 1, 6, 16, 29, tzinfo=UTC)
    expected = kline()
    assert row == {name: getattr(expected, name) for name in row}
    assert len(row) == 12


def test_trades_have_names_that_any_reader_can_distinguish(tmp_path, clock):
    """DuckDB takes s and S for one; what the exchange adds is kept aside."""
    consumer = made(tmp_path)
    consumer.deliver([Envelope("bybit", "linear", "trades", (TRADE,))])
    consumer.stop()
    (row,) = rows(tmp_path, "bybit/linear/trades/BTCUSDT/20260112_15.parquet")
    assert len({name.lower() for name in row}) == len(row)
    assert (row["side"], row["price"], row["size"]) == ("Sell", Decimal("92792.00"), Decimal("0.100"))
    assert (row["rpi"], row["seq"], json.loads(row["extra"])) == (True, 508178141815, {"new": 1})


def test_tickers_are_floats_and_empty_texts_null(tmp_path, clock):
    """Statistics, to be reckoned with; an empty text among numbers is no number."""
    consumer = made(tmp_path)
    consumer.deliver([Envelope("bybit", "linear", "ticker", (TICKER, {"symbol": "BTCUSDT", "unsure": ["lastPrice"]}))])
    consumer.stop()
    first, second = rows(tmp_path, "bybit/linear/ticker/BTCUSDT/20260112_15.parquet")
    assert (first["lastPrice"], first["openInterest"], first["preOpenPrice"]) == (92792.1, 51295.0, None)
    assert first["nextFundingTime"] == datetime.fromtimestamp(1767744000, UTC)
    assert (first["extra"], second["unsure"]) == ('{"brandNew": "1.5"}', ["lastPrice"])


def test_what_has_more_places_than_a_column_is_rounded(tmp_path, clock):
    """One odd number costs its last digits, not the rows beside it."""
    consumer = made(tmp_path)
    consumer.deliver([price(text) for text in ("0.1234567890123456789", "1e30", "1.5")])
    consumer.stop()
    found = [row["price"] for row in rows(tmp_path, "bybit/linear/price/BTCUSDT/20260112_15.parquet")]
    assert found == [Decimal("0.123456789012345679"), None, Decimal("1.5")]


ABSURD: tuple[object, ...] = ("1E+99999999", "1E-99999999", "0E-99999999", "NaN", "sNaN", "Infinity", "n/a", [], None)


def test_numbers_that_no_column_holds_are_null_and_logged(tmp_path, clock):
    """One of them ended the process within pyarrow, others the whole batch."""
    consumer = made(tmp_path)
    absurd = [TRADE | {"p": number} for number in ABSURD]
    with capture_logs() as logs:
        consumer.deliver([Envelope("bybit", "linear", "trades", (TRADE, *absurd)), klines(volume=Decimal("1e20"))])
        consumer.stop()
    found = [row["price"] for row in rows(tmp_path, "bybit/linear/trades/BTCUSDT/20260112_15.parquet")]
    assert found == [Decimal("92792"), None, 0, 0, *[None] * 6]
    assert rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")[0]["volume"] is None
    logged = {(entry["event"], entry["data_type"], entry["numbers"]) for entry in logs}
    assert logged == {("parquet_numbers_null", "trades", 7), ("parquet_numbers_null", "klines", 1)}


@pytest.mark.parametrize("field", [{"seq": 2**70}, {"T": 10**30}, {"seq": "x"}, {"BT": "yes"}, {"S": "\ud800"}])
def test_a_record_of_other_types_costs_itself(tmp_path, clock, field):
    """Not those that came beside it."""
    consumer = made(tmp_path)
    records = [TRADE | {"i": str(number)} for number in range(7)]
    records[3] |= field
    with capture_logs() as logs:
        consumer.deliver([Envelope("bybit", "linear", "trades", tuple(records))])
        consumer.stop()
    found = [row["trade_id"] for row in rows(tmp_path, "bybit/linear/trades/BTCUSDT/20260112_15.parquet")]
    assert found == ["0", "1", "2", "4", "5", "6"]
    assert (consumer.counters()["rows_dropped"], [entry["event"] for entry in logs]) == (1, ["parquet_row_refused"])


def test_rows_of_a_crash_are_in_parts(tmp_path, clock):
    """After the flush interval a kill costs nothing; the next start, an hour later, makes the files."""
    consumer = made(tmp_path, flush_s=0.0)
    for number in range(3):
        consumer.deliver([klines(number), price("1", "ETHUSDT")])
        consumer.tick()
    assert len(parts(tmp_path)) == 6
    del consumer  # killed
    clock.at += timedelta(hours=2)
    made(tmp_path).tick()
    found = rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")
    assert [row["timestamp"].minute for row in found] == [29, 30, 31]
    assert parts(tmp_path) == []


def test_a_restart_within_the_hour_loses_no_row_and_doubles_none(tmp_path, clock):
    """The hour's file at the end has what both runs saw."""
    for number in (1, 2):
        consumer = made(tmp_path)
        consumer.deliver([klines(number)])
        consumer.stop()
        assert len(rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")) == number
    clock.at += timedelta(hours=1)
    made(tmp_path).tick()
    assert len(rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")) == 2
    assert parts(tmp_path) == []


def test_a_symbols_rows_keep_their_order(tmp_path, clock, monkeypatch):
    """Many symbols, many parts, small row groups: each file is as its rows came."""
    monkeypatch.setattr(parquet_parts, "ROW_GROUP", 7)
    monkeypatch.setattr(parquet_parts, "CHUNK", 3)
    consumer = made(tmp_path, flush_s=0.0, convert_rows=5)
    for number in range(40):
        consumer.deliver([price(str(number), f"S{number % 3}"), price(str(number), "ALL")])
        if number % 9 == 0:
            consumer.tick()
    consumer.stop()
    found = [int(row["price"]) for row in rows(tmp_path, "bybit/linear/price/ALL/20260112_15.parquet")]
    assert found == list(range(40))
    assert [int(row["price"]) for row in rows(tmp_path, "bybit/linear/price/S1/20260112_15.parquet")] == found[1::3]


def test_a_full_disk_is_tried_again(tmp_path, clock, monkeypatch):
    """Counted and logged; the rows wait and are written when there is room, and nothing half written stays."""
    consumer = made(tmp_path, flush_s=0.0, retry_s=0.0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    consumer.deliver([klines(1)])
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        consumer.tick()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert isinstance(consumer.trouble, OSError)
    assert consumer.counters()["write_errors"] == 1
    consumer.deliver([klines(2)])
    consumer.tick()
    assert consumer.trouble is None
    consumer.stop()
    assert len(rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")) == 2


def test_files_that_cannot_be_made_are_made_later(tmp_path, clock, monkeypatch):
    """A disk that fills up while an hour is merged costs nothing: the parts stay until their files are there."""
    now_s = FakeClock()
    monkeypatch.setattr(time, "monotonic", now_s)
    consumer = made(tmp_path, flush_s=0.0, retry_s=60.0)
    consumer.deliver([price("1", "AAA"), price("1", "BBB")])
    consumer.tick()
    (tmp_path / "bybit/linear/price").mkdir(parents=True)
    (tmp_path / "bybit/linear/price/BBB").write_text("in the way")
    clock.at += timedelta(hours=1)
    consumer.tick()
    consumer.tick()
    assert len(parts(tmp_path)) == 1
    assert isinstance(consumer.trouble, OSError)
    assert consumer.counters()["write_errors"] == 1, "a minute has not passed"
    (tmp_path / "bybit/linear/price/BBB").unlink()
    now_s.now_s += 60.0
    with capture_logs() as logs:
        consumer.tick()
    assert consumer.trouble is None
    assert [entry["event"] for entry in logs] == ["parquet_up"]
    assert files(tmp_path) == [f"bybit/linear/price/{name}/20260112_15.parquet" for name in ("AAA", "BBB")]
    assert parts(tmp_path) == []


def test_rows_that_are_written_do_not_hide_a_file_that_is_not(tmp_path, clock):
    """The next hour's rows have room, the last hour's file has not: the trouble is not over."""
    consumer = made(tmp_path, flush_s=0.0, retry_s=0.0, merge_slice_s=0.001)
    consumer.deliver([price("1", "AAA")])
    consumer.tick()
    (tmp_path / "bybit/linear/price").mkdir(parents=True)
    (tmp_path / "bybit/linear/price/AAA").write_text("in the way")
    clock.at += timedelta(hours=1)
    consumer.tick()
    consumer.deliver([price("2", "BBB")])
    written = consumer.counters()["parts"]
    with capture_logs() as logs:
        consumer.tick()
    assert consumer.counters()["parts"] == written + 1
    assert "parquet_up" not in [entry["event"] for entry in logs]
    assert isinstance(consumer.trouble, OSError)


def test_a_part_that_cannot_be_read_costs_its_own_rows(tmp_path, clock):
    """A machine that lost its power leaves empty files; the hour is made of the others."""
    consumer = made(tmp_path, flush_s=0.0)
    for number in range(3):
        consumer.deliver([klines(number)])
        consumer.tick()
    first, second, _ = parts(tmp_path)
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:100])
    consumer.stop()
    (row,) = rows(tmp_path, "bybit/linear/klines/BTCUSDT/20260112_15.parquet")
    assert row["timestamp"].minute == 31


def test_rows_that_wait_for_a_disk_are_bounded(tmp_path, clock):
    """A disk full for a night costs the oldest rows, counted, not the process."""
    consumer = made(tmp_path, flush_s=0.0, pending_bytes=1_000, convert_rows=1)
    (tmp_path / ".parts/bybit_linear/bybit").write_text("in the way")
    for number in range(60):
        consumer.deliver([price(str(number))])
        consumer.tick()
    (tmp_path / ".parts/bybit_linear/bybit").unlink()
    consumer.stop()
    kept = [int(row["price"]) for row in rows(tmp_path, "bybit/linear/price/BTCUSDT/20260112_15.parquet")]
    assert kept
    assert consumer.counters()["rows_dropped"] == 60 - len(kept) > 0
    assert kept[-1] == 59


def test_old_files_go(tmp_path, clock):
    """Retention is by the end of a file's hour."""
    for hour in ("20260112_10", "20260112_11", "20260112_12"):
        path = tmp_path / f"bybit/linear/price/BTCUSDT/{hour}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    made(tmp_path, retention_hours=4).tick()
    assert [name[-19:] for name in files(tmp_path)] == ["20260112_11.parquet", "20260112_12.parquet"]


def test_other_collectors_files_stay(tmp_path, clock):
    """By age and by size."""
    names = [f"{owner}/price/A/20250112_10.parquet" for owner in ("other/linear", "bybit/spot", "bybit/linear")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"x" * 10)
    made(tmp_path, retention_hours=4, max_gb=1 / 1e9).tick()
    assert files(tmp_path) == sorted(names[:2])


def test_parts_that_were_removed_are_missed_and_begun_anew(tmp_path, clock):
    """The hour's file has what came after."""
    consumer = made(tmp_path, flush_s=0.0)
    consumer.deliver([price("1")])
    consumer.tick()
    shutil.rmtree(tmp_path)
    consumer.deliver([price("2")])
    with capture_logs() as logs:
        consumer.stop()
    assert [line["event"] for line in logs] == ["parquet_parts_gone"]
    assert len(files(tmp_path)) == 1


def test_a_part_that_is_no_file_is_left_alone(tmp_path, clock):
    """Nobody writes to a FIFO there: opening it would never end."""
    consumer = made(tmp_path, flush_s=0.0)
    consumer.deliver([price("1")])
    consumer.tick()
    os.mkfifo(parts(tmp_path)[0].with_name("0.arrow"))
    consumer.stop()
    assert len(files(tmp_path)) == 1


def test_without_pyarrow_the_command_is_named(tmp_path, monkeypatch):
    """The main install stays small; whoever asks for Parquet gets the command to run."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"-m pip install -r requirements-parquet.txt"):
        ParquetConsumer(ParquetOptions(tmp_path)).validate()
