"""What a message from Bybit is, when its beginning did not tell: data, an acknowledgement, a pong, or nothing known.

Pure. Shapes from the docs' ws/connect page and from frames quoted in public issues (they differ by market).
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Data:
    """A market message of `topic`."""

    topic: str


@dataclass(frozen=True, slots=True)
class Ack:
    """The answer to a subscribe or an unsubscribe message.

    `req_id` is "" where the server left it out. `named` are the topics the refusal names, `is_active` says that it
    refused them because they are subscribed already. Option answers list topics: `accepted` and `refused`.
    """

    success: bool
    req_id: str
    message: str
    named: tuple[str, ...] = ()
    is_active: bool = False
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    is_unsubscribe: bool = False


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a JSON ping, in any of its shapes. `time_ms` is the exchange's; 0 where it has none, as in most.

    `req_id` is "" where the server left it out.
    """

    time_ms: int = field(default=0, compare=False)
    req_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """Valid JSON that is nothing of the above."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not JSON."""


Message = Data | Ack | Pong | Unknown | Malformed

_NAMED = re.compile(r"topic:\s*(.+)$", re.IGNORECASE)


def read_message(payload: bytes) -> Message:
    """Decode and classify one text message. Never raises."""
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):  # RecursionError: a thousand brackets
        return Malformed()
    if not isinstance(message, dict):
        return Unknown()
    topic = message.get("topic")
    if isinstance(topic, str):
        return Data(topic)
    if _is_pong(message):
        return Pong(_time_of(message), str(message.get("req_id") or ""))
    if _is_ack(message):
        return _ack(message)
    return Unknown()


def _is_pong(message: dict[str, Any]) -> bool:
    """Spot, linear and inverse answer op "ping" with ret_msg "pong"; option, private and trade op "pong"."""
    op = message.get("op")
    return op == "pong" or (op == "ping" and message.get("ret_msg") == "pong")


def _time_of(pong: dict[str, Any]) -> int:
    """Option, private and trade write the time into a list of one text."""
    times = pong.get("args") or pong.get("data")
    text = times[0] if isinstance(times, list) and times else None
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{13}", text) else 0


def _is_ack(message: dict[str, Any]) -> bool:
    """Refusals without an op have been seen, so that `success` alone is enough."""
    op = message.get("op")
    return (
        op in ("subscribe", "unsubscribe")
        or message.get("type") == "COMMAND_RESP"
        or (op is None and "success" in message)
    )


def _ack(message: dict[str, Any]) -> Ack:
    data = message.get("data")
    lists = data if isinstance(data, dict) else {}
    text = str(message.get("ret_msg") or "")
    refused = _texts(lists.get("failTopics"))
    return Ack(
        success=message.get("success") is True and not refused,
        req_id=str(message.get("req_id") or ""),
        message=text,
        named=_named_topics(text),
        is_active="already subscribed" in text.lower(),
        accepted=_texts(lists.get("successTopics")),
        refused=refused,
        is_unsubscribe=message.get("op") == "unsubscribe",
    )


def _named_topics(text: str) -> tuple[str, ...]:
    found = _NAMED.search(text)
    return tuple(part for part in re.split(r"[,\s\[\]\"]+", found[1]) if part) if found else ()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
