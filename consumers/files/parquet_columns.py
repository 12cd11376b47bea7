"""The columns of the Parquet files and their types, and the conversion of records to them.

Pure; needs pyarrow. Prices and sizes of klines, prices and trades are exact: decimal128(38, 18). Tickers, some 25
numbers a row that the exchange rounds itself, are float64, a tenth of the work. Times are timestamp[ms, UTC].
"""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa

from model.records import Record

PLACES = 18
LARGEST = Decimal(10) ** (38 - PLACES)  # what has 18 places and 38 digits is below
DECIMAL = pa.decimal128(38, PLACES)
TIME = pa.timestamp("ms", tz="UTC")
NUMBERS = frozenset({int, float, Decimal})
RECEIVED = "received"  # when the output took the row; the last column of every table
EXTRA = "extra"  # fields that are no column, as JSON
ODD = (ValueError, TypeError, AttributeError, ArithmeticError)
"""What `batch_of` raises for a record whose fields are of other types: an integer of more than 64 bits is the last."""


class Column(NamedTuple):
    """A column: its name, its type, and the field of a record it is made of."""

    name: str
    type: Any
    field: str


def _columns(type_: Any, *names: str) -> list[Column]:
    return [Column(name, type_, name) for name in names]


KLINES = [
    *_columns(pa.string(), "symbol"),
    *_columns(pa.int64(), "interval"),
    *_columns(TIME, "timestamp"),
    *_columns(DECIMAL, "open", "high", "low", "close", "volume"),
    *_columns(pa.int64(), "trade_count"),
    *_columns(DECIMAL, "turnover"),
    *_columns(pa.bool_(), "complete"),
    *_columns(pa.string(), "source"),
    *_columns(pa.int64(), "revision"),
]
PRICE = [*_columns(pa.string(), "symbol"), *_columns(DECIMAL, "price")]
TRADES = [  # an exchange's s and S would be one name to DuckDB
    *_columns(pa.string(), "symbol"),
    *_columns(TIME, "timestamp"),
    *_columns(pa.string(), "side"),
    *_columns(DECIMAL, "price", "size"),
    *_columns(pa.string(), "tick_direction", "trade_id"),
    *_columns(pa.bool_(), "block_trade", "rpi"),
    *_columns(pa.int64(), "seq"),
]
TICKER_NUMBERS = (
    "lastPrice", "price24hPcnt", "prevPrice24h", "highPrice24h", "lowPrice24h", "prevPrice1h", "markPrice",
    "indexPrice", "openInterest", "openInterestValue", "turnover24h", "volume24h", "fundingIntervalHour", "fundingCap",
    "fundingRate", "bid1Price", "bid1Size", "ask1Price", "ask1Size", "preOpenPrice", "preQty", "usdIndexPrice",
    "basis", "basisRate", "deliveryFeeRate", "predictedDeliveryPrice",
)  # fmt: skip
TICKER = [
    *_columns(pa.string(), "symbol", "tickDirection"),
    *_columns(pa.float64(), *TICKER_NUMBERS),
    *_columns(TIME, "nextFundingTime"),
    *_columns(pa.string(), "curPreListingPhase", "deliveryTime"),
    *_columns(pa.list_(pa.string()), "unsure"),
]
TABLES: dict[str, list[Column]] = {"klines": KLINES, "price": PRICE, "trades": TRADES, "ticker": TICKER}
OPEN = frozenset({"trades", "ticker"})  # the exchange may add fields


def batch_of(
    data_type: str, records: Sequence[Any], received_ms: Sequence[int], names: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """Return a pyarrow RecordBatch of records of one type, in their order; raises one of ODD.

    Its schema is that of the type of data, the same for every market. `names`: fields of the records by column, where
    they are called otherwise.
    """
    columns = [column._replace(field=names.get(column.name, column.field)) for column in TABLES[data_type]]
    fields = [(column.name, column.type) for column in columns]
    if data_type == "klines":
        arrays = [_array(c.type, [getattr(record, c.field) for record in records]) for c in columns]
    else:
        arrays = [_array(c.type, [record.get(c.field) for record in records]) for c in columns]
    if data_type in OPEN:
        known = {column.field for column in columns}
        fields.append((EXTRA, pa.string()))
        arrays.append(pa.array([_extra(record, known) for record in records], pa.string()))
    arrays.append(pa.array(received_ms, TIME))
    return pa.record_batch(arrays, schema=pa.schema([*fields, (RECEIVED, TIME)]))


def _extra(record: Record, known: set[str]) -> str | None:
    left = record.keys() - known
    return json.dumps({name: record[name] for name in sorted(left)}, default=str) if left else None


def _array(type_: Any, values: list[Any]) -> Any:
    convert = _CONVERT.get(type_)
    return convert(values) if convert else pa.array(values, type_)


def numbers_left_out(batch: Any) -> int:
    """Return the number of decimals of a batch that are null: too large for their column, or no numbers."""
    columns = [column for column in batch.schema if column.type == DECIMAL]
    return sum(batch.column(column.name).null_count for column in columns)


def _decimals(values: list[Any]) -> Any:
    numbers = [_decimal(value) for value in values]
    try:
        return pa.array(numbers, DECIMAL)
    except pa.ArrowInvalid:  # more than 18 places: the nearest
        return pa.array([number and _bounded(number) for number in numbers], DECIMAL)


def _decimal(value: Any) -> Decimal | None:
    """Return the number; None where pyarrow cannot hold it: 1E-99999999 ends the process (pyarrow 26)."""
    try:
        number = value if type(value) is Decimal else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        return None
    return number if abs(number.adjusted()) <= PLACES and number.is_finite() else _bounded(number)


def _bounded(number: Decimal) -> Decimal | None:
    """Return the number rounded to a column's places; None where it has too many digits before the point."""
    return Decimal(f"{number:.{PLACES}f}") if number.is_finite() and -LARGEST < number < LARGEST else None


def _floats(values: list[Any]) -> Any:
    numbers = [float(value) if type(value) in NUMBERS else None for value in values]  # an empty text is no number
    return pa.array(numbers, pa.float64())


def _times(values: list[Any]) -> Any:
    numbers = [int(value) if type(value) is str and value.isdecimal() else value for value in values]
    return pa.array([value if type(value) is int and value > 0 else None for value in numbers], TIME)


def _texts(values: list[Any]) -> Any:
    return pa.array([value if value is None else str(value) for value in values], pa.string())


_CONVERT: dict[Any, Callable[[list[Any]], Any]] = {
    DECIMAL: _decimals,
    pa.float64(): _floats,
    TIME: _times,
    pa.string(): _texts,
}
