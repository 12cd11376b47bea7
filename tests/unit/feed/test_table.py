"""Klines as a table of columns, and what is made of it."""

import builtins
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import polars
import pytest

from feed import FeedError, Kline, Table

START_MS = 1_795_000_020_000


def table(*, exact: bool = False, count: int = 2) -> Table:
    prices = Decimal("67250.50"), Decimal("0.00000001"), Decimal("1"), Decimal("123456789012345.123456789")
    klines = [
        Kline("BTCUSDT", 60_000, START_MS + i * 60_000, *prices, Decimal("1.5"), 7, Decimal(9), i == 0, "trades", i)
        for i in range(count)
    ]
    return Table.of(klines, "1m", exact=exact)


def test_pandas_has_times_in_utc_and_floats():
    frame = table().to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.timestamp) == [pd.Timestamp(START_MS + i * 60_000, unit="ms", tz="UTC") for i in (0, 1)]
    assert frame.dtypes.astype(str)[["timestamp", "open", "trade_count", "complete"]].tolist() == [
        "datetime64[ms, UTC]", "float64", "int64", "bool",
    ]  # fmt: skip
    assert type(frame[["open"]]) is pd.DataFrame
    assert frame.to_pandas().equals(pd.DataFrame(frame))


def test_exact_numbers_keep_every_digit():
    frame = table(exact=True).to_pandas()
    assert [str(frame.open[0]), str(frame.close[0])] == ["67250.50", "123456789012345.123456789"]
    arrow = table(exact=True).to_arrow()
    assert arrow["close"].to_pylist()[0] == Decimal("123456789012345.123456789")
    assert arrow.equals(arrow.from_pandas(frame, preserve_index=False).cast(arrow.schema))


def test_arrow_and_polars_have_the_same_rows():
    arrow = table().to_arrow()
    rows = [{**row, "timestamp": row["timestamp"]} for row in table().rows()]
    assert arrow.to_pylist() == rows
    for frame in (table().to_polars(), table().to_pandas().to_polars()):
        assert isinstance(frame, polars.DataFrame)
        assert frame.to_dicts() == rows


def test_an_empty_table_is_one_of_the_same_columns():
    empty = table(count=0)
    assert (len(empty), list(empty.to_pandas().columns)) == (0, list(table().columns))
    assert (empty.to_arrow().num_rows, list(empty.rows())) == (0, [])
    assert repr(empty).split() == list(table().columns)


def test_csv_and_json_are_exact():
    out = io.StringIO()
    table(exact=True).to_csv(out)
    head, first, _ = out.getvalue().splitlines()
    assert head.split(",") == list(table().columns)
    moment = datetime.fromtimestamp(START_MS / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert first == f"BTCUSDT,1m,{moment},67250.50,0.00000001,1,123456789012345.123456789,1.5,7,9,true,trades,0"
    out = io.StringIO()
    table(exact=True).to_json(out)
    row = json.loads(out.getvalue().splitlines()[1])
    assert (row["open"], row["complete"], row["revision"], row["timestamp"][-1]) == ("67250.50", False, 1, "Z")


def test_without_pandas_a_sentence_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] in ("pandas", "polars", "pyarrow"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for make in (table().to_pandas, table().to_polars, table().to_arrow):
        with pytest.raises(FeedError, match="pip install"):
            make()
    assert len(repr(table()).splitlines()) == 3
