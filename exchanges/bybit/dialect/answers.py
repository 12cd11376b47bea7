"""Bybit's answers to control frames, which differ by market (docs: ws/connect).

Pure: text out, keys in Bybit's order.
"""

import json
from typing import Any


def _text(answer: dict[str, Any]) -> str:
    return json.dumps(answer, separators=(",", ":"))


def _envelope(market: str, success: bool, ret_msg: str, conn_id: str, req_id: str | None, op: str) -> str:
    """Spot carries req_id only where one was sent."""
    answer: dict[str, Any] = {"success": success, "ret_msg": ret_msg, "conn_id": conn_id}
    if req_id is not None or market != "spot":
        answer["req_id"] = req_id or ""
    answer["op"] = op
    return _text(answer)


def accepted(market: str, op: str, conn_id: str, req_id: str | None) -> str:
    """A whole subscribe or unsubscribe frame was applied."""
    return _envelope(market, True, op if market == "spot" else "", conn_id, req_id, op)


def refused(market: str, op: str, ret_msg: str, conn_id: str, req_id: str | None) -> str:
    """Nothing of a frame was applied; `ret_msg` names the first offender."""
    return _envelope(market, False, ret_msg, conn_id, req_id, op)


def pong(market: str, conn_id: str, req_id: str | None) -> str:
    """The answer to `{"op":"ping"}`: on public sockets its op is ping as well."""
    return _envelope(market, True, "pong", conn_id, None if market == "spot" else req_id, "ping")


def authorized(conn_id: str, req_id: str | None) -> str:
    """The login was right."""
    answer = {"success": True, "ret_msg": "", "op": "auth", "conn_id": conn_id}
    return _text(answer | ({"req_id": req_id} if req_id else {}))


def unauthorized(conn_id: str) -> str:
    """The login was wrong, or something else came first."""
    return _text({"success": False, "ret_msg": "error:login first", "op": "auth", "conn_id": conn_id})
