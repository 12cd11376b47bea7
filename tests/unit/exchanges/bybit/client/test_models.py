"""Models against every payload that the docs and recordings have."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchanges.bybit.client import models
from exchanges.bybit.client.errors import BadAnswerError
from exchanges.bybit.client.models import Execution, Kline, Model, Order, OrderBook, Position, Ticker, Trade, Wallet
from exchanges.bybit.client.results import Result, rows_of

KINDS: dict[str, type[Model[Any]]] = {
    "tickers": Ticker, "ticker": Ticker, "orderbook": OrderBook, "kline": Kline, "klines": Kline, "trade": Trade,
    "trades": Trade, "recent-trade": Trade, "publicTrade": Trade, "instrument": models.Instrument,
    "instruments": models.Instrument, "position": Position, "positions": Position, "order": Order, "orders": Order,
    "open-order": Order, "order-list": Order, "create-order": Order, "cancel-all": Order, "batch-place": Order,
    "execution": Execution, "executions": Execution, "wallet": Wallet, "wallet-balance": Wallet,
    "mark-kline": Kline, "index-kline": Kline, "premium-index-kline": Kline, "rpi-orderbook": OrderBook,
    "full-ob": OrderBook, "fast-execution": Execution,
}  # fmt: skip


def payloads(shared_data: Path) -> dict[str, Any]:
    """Every JSON value of every file; the docs' .txt files hold several, with comments between."""
    found = {}
    for path in sorted((shared_data / "rest").rglob("*.json*")):
        text, position, decoder = path.read_text(), 0, json.JSONDecoder()
        while (begin := text.find("{", position)) >= 0:
            try:
                found[f"{path.name}:{begin}"], position = decoder.raw_decode(text, begin)
            except ValueError:
                position = begin + 1 if path.suffix == ".txt" else pytest.fail(f"{path} is no JSON")
    return found


def kind_of(name: str, payload: dict[str, Any]) -> type[Model[Any]] | None:
    """The model of a payload's rows, None where there is none for them."""
    topic = str(payload.get("topic", ""))
    if topic:
        return KINDS.get(topic.partition(".")[0])
    words = name.partition(".")[0].removeprefix("http_get_").split("_")
    return KINDS.get(words[0]) if "result" in payload else None


def rows_in(payload: dict[str, Any]) -> list[Any]:
    rows = models.named_rows(payload) if "topic" in payload else rows_of(payload["result"])
    return list(rows)


@pytest.mark.parametrize("number", [Decimal, float])
def test_every_payload_becomes_its_model(shared_data: Path, number: type) -> None:
    """All rows of all files whose kind has a model; each field equals what was sent, nothing is lost."""
    seen: dict[str, int] = {}
    for name, payload in payloads(shared_data).items():
        kind = kind_of(name, payload)
        if kind is None or payload.get("op"):
            continue
        typed: Any = kind
        for row in rows_in(payload):
            built = typed[number].from_api_response(row)
            seen[kind.__name__] = seen.get(kind.__name__, 0) + 1
            if isinstance(row, dict):
                lost = set(row) - set(built.model_dump(by_alias=True)) - validation_names(kind)
                assert not lost, (name, lost)
    assert set(seen) == {
        "Ticker",
        "OrderBook",
        "Kline",
        "Trade",
        "Instrument",
        "Position",
        "Order",
        "Execution",
        "Wallet",
    }
    assert min(seen.values()) >= 2, seen


def validation_names(kind: type[Model[Any]]) -> set[str]:
    """Second names of fields."""
    aliases = [field.validation_alias for field in kind.model_fields.values()]
    return {str(choice) for alias in aliases for choice in getattr(alias, "choices", [])}


def test_fields_hold_what_was_sent(shared_data: Path) -> None:
    """Number by number, for a wallet with its coins."""
    raw = json.loads((shared_data / "rest/fixtures/http_get_wallet_balance.json").read_text())
    row = raw["result"]["list"][0]
    wallet = Wallet[Decimal].from_api_response(row)
    assert wallet.total_equity == Decimal(row["totalEquity"])
    assert wallet.account_im_rate == Decimal(row["accountIMRate"])
    assert wallet.coin[0].equity == Decimal(row["coin"][0]["equity"])
    assert wallet.balance("NONE") is None
    assert wallet.balance(row["coin"][0]["coin"]) == wallet.coin[0]


def test_every_answer_becomes_a_result(shared_data: Path) -> None:
    """Whatever the result is: a dict, a list, nothing."""
    for name, payload in payloads(shared_data).items():
        if "retCode" in payload and "op" not in payload:
            result: Result[Any] = Result(payload.get("result", {}), payload)
            assert result.raw is payload, name
            assert isinstance(result.models, tuple), name


def test_empty_is_none_and_unknown_fields_are_kept() -> None:
    """Bybit's "" is no value; a field of tomorrow stays under its name."""
    order = Order[Decimal].from_api_response({"orderId": "1", "price": "", "newField": "x", "orderLinkId": ""})
    assert (order.price, order.order_link_id) == (None, None)
    assert order.model_extra == {"newField": "x"}


def test_numbers_are_exact_or_floats() -> None:
    """By choice; the dict keeps Bybit's text either way."""
    row = ["1", "0.1", "0.3", "0.1", "0.2", "3", "4"]
    assert Kline[Decimal].from_api_response(row).high == Decimal("0.3")
    assert isinstance(Kline[float].from_api_response(row).high, float)


def test_streams_and_rest_agree() -> None:
    """The same names for the same things."""
    rest = {"execId": "a", "symbol": "B", "price": "1", "size": "2", "side": "Buy", "time": "3", "isBlockTrade": False}
    live = {"i": "a", "s": "B", "p": "1", "v": "2", "S": "Buy", "T": 3, "BT": False}
    assert Trade[Decimal].from_api_response(rest) == Trade[Decimal].from_api_response(live)
    assert Position[Decimal].from_api_response({"symbol": "A", "entryPrice": "1"}).avg_price == 1


def test_no_row_is_an_error() -> None:
    """`model` of an empty list."""
    with pytest.raises(BadAnswerError, match="no rows"):
        _ = Result({"list": []}, {}).model
