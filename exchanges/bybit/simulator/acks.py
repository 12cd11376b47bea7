"""Answers to control frames, which differ per category (BYBIT_V5.md sections 3.1 and 3.2).

Pure: JSON text out. Key order as recorded.
"""

import json
from typing import Any


def _text(answer: dict[str, Any]) -> str:
    return json.dumps(answer, separators=(",", ":"))


def _envelope(category: str, success: bool, ret_msg: str, conn_id: str, req_id: str | None, op: str) -> dict[str, Any]:
    """Linear and inverse always carry req_id, spot only what was sent."""
    answer: dict[str, Any] = {"success": success, "ret_msg": ret_msg, "conn_id": conn_id}
    if req_id is not None or category != "spot":
        answer["req_id"] = req_id or ""
    answer["op"] = op
    return answer


def command_accepted(category: str, op: str, conn_id: str, req_id: str | None, topics: list[str]) -> str:
    """The answer to a whole subscribe or unsubscribe frame that was applied."""
    if category == "option":
        data = {"failTopics": [], "successTopics": topics}
        return _text({"success": True, "conn_id": conn_id, "data": data, "type": "COMMAND_RESP"})
    ret_msg = op if category == "spot" else ""
    return _text(_envelope(category, True, ret_msg, conn_id, req_id, op))


def command_refused(category: str, op: str, conn_id: str, req_id: str | None, ret_msg: str, topics: list[str]) -> str:
    """The answer to a frame of which nothing was applied; `ret_msg` names at most one offender."""
    if category == "option" and topics:
        data = {"failTopics": topics, "successTopics": []}
        return _text({"success": False, "conn_id": conn_id, "data": data, "type": "COMMAND_RESP"})
    return _text(_envelope(category, False, ret_msg, conn_id, req_id, op))


def pong(category: str, conn_id: str, req_id: str | None, now_ms: int) -> str:
    """Three shapes of the five a client may meet; private and trade sockets are not simulated here."""
    if category == "option":
        return _text({"args": [str(now_ms)], "op": "pong"})
    if category == "spot":
        req_id = None
    return _text(_envelope(category, True, "pong", conn_id, req_id, "ping"))
