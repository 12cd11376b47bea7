"""Private rows and messages have the keys of the documentation's own examples."""

import json
from pathlib import Path
from typing import Any

import pytest

from exchanges.simulated.bybit.auth import DEFAULT_KEY, ApiKey
from exchanges.simulated.bybit.private import PrivateSide
from exchanges.simulated.bybit.private_api import _key_report
from exchanges.simulated.hub import Session

from .conftest import Harness, payloads

UID = 5
ONE = {"category": "linear", "symbol": "BTCUSDT"}
# What the examples show and Bybit's field lists no longer do, or only of accounts that are not simulated.
GONE = {"mmrSysUpdateTime", "cumFeeDetail", "slippageToleranceType", "openTime"}
ALSO_EMPTY = {"extraFees"}  # a list, or empty text


@pytest.fixture
def session(harness: Harness) -> Session:
    """An authenticated private connection."""
    session = harness.client("private")
    session.uid = UID
    return session


@pytest.fixture
def side(harness: Harness, session: Session) -> PrivateSide:
    """An account with a filled and a resting order."""
    side = PrivateSide(harness.options, harness.hub, harness.market)
    names = ["order", "execution", "execution.fast", "position", "wallet"]
    side.stream.handle(session, json.dumps({"op": "subscribe", "args": names}))
    run = side.gateway.private.run
    order = ONE | {"side": "Buy", "orderType": "Market", "qty": "0.010"}
    assert run(UID, "/v5/order/create", order)[0] == 0
    assert run(UID, "/v5/order/create", order | {"orderType": "Limit", "price": "50000.00"})[0] == 0
    return side


@pytest.mark.parametrize(
    ("file", "path", "query"),
    [
        ("order/open-order.0", "/v5/order/realtime", ONE),
        ("order/order-list.0", "/v5/order/history", ONE),
        ("order/execution.0", "/v5/execution/list", ONE),
        ("position/position.0", "/v5/position/list", ONE),
        ("account/wallet-balance.0", "/v5/account/wallet-balance", {"accountType": "UNIFIED"}),
    ],
)
def test_rows_have_the_documented_keys(
    shared_data: Path, side: PrivateSide, file: str, path: str, query: dict[str, Any]
) -> None:
    """And values of the same types."""
    documented = json.loads((shared_data / f"rest/docs/v5/{file}.json").read_text())["result"]
    code, _, result, _ = side.gateway.private.run(UID, path, dict(query))
    assert code == 0
    assert set(documented) <= set(result)
    _compare(documented["list"][0], result["list"][0])


def _compare(documented: dict[str, Any], ours: dict[str, Any]) -> None:
    assert set(documented) - set(ours) <= GONE
    for name in set(documented) & set(ours):
        if documented[name] is not None and name not in ALSO_EMPTY:
            assert type(documented[name]) is type(ours[name]), name
    if "coin" in documented and isinstance(documented["coin"], list):
        _compare(documented["coin"][0], ours["coin"][0])


@pytest.mark.parametrize(
    ("topic", "file"),
    [
        ("order", "order.1"), ("execution", "execution.1"), ("execution.fast", "fast-execution.1"),
        ("position", "position.1"), ("wallet", "wallet.1"),
    ],
)  # fmt: skip
def test_messages_have_the_documented_keys(
    shared_data: Path, side: PrivateSide, session: Session, topic: str, file: str
) -> None:
    """Envelope and row."""
    documented = json.loads((shared_data / f"rest/docs/v5/websocket/private/{file}.json").read_text())
    ours = next(m for m in payloads(session) if m.get("topic") == topic)
    assert set(documented) <= set(ours)
    _compare(documented["data"][0], ours["data"][0])


def test_the_key_report_is_as_recorded(shared_data: Path) -> None:
    """And without the secret."""
    recorded = json.loads((shared_data / "rest/fixtures/http_get_user_query_api.json").read_text())["result"]
    ours = _key_report(ApiKey(DEFAULT_KEY, "s3cret", UID))
    assert set(recorded) - set(ours) <= {"userIDInt64", "inviterIDInt64", "affiliateIDInt64"}
    assert "s3cret" not in json.dumps(ours)
