"""Faults on command: of the exchange and of the network.

Event loop thread only. Nothing here changes the truth: hand-made trades never happened, duplicates happened once.
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from . import frames
from .bybit.gateway import Gateway
from .hub import Hub, TopicFault
from .rest import reset
from .server import Connection, WsServer, close_soon

HUGE_BYTES = 5_000_000
NAMELESS = "publicTrade.BTCUSDT"  # topic of a hand-made message where nothing is subscribed


def trade_text(topic: str, price: str, size: str) -> bytes:
    """A trade message that never happened."""
    now_ms = time.time_ns() // 1_000_000
    trade = {
        "T": now_ms, "s": topic.rpartition(".")[2], "S": "Buy", "v": size, "p": price, "L": "PlusTick",
        "i": f"00000000-0000-5000-8000-{now_ms:012x}", "BT": False, "RPI": False, "seq": now_ms,
    }  # fmt: skip
    message = {"topic": topic, "type": "snapshot", "ts": now_ms, "data": [trade]}
    return json.dumps(message, separators=(",", ":")).encode()


def huge_text(topic: str) -> bytes:
    """Five megabytes of valid JSON with a known topic."""
    head, tail = f'{{"topic":"{topic}","type":"snapshot","ts":1,"data":[],"padding":"'.encode(), b'"}'
    return head + b"x" * (HUGE_BYTES - len(head) - len(tail)) + tail


GARBAGE: dict[str, Callable[[str], bytes]] = {
    "malformed_json": lambda topic: frames.text_frame(f'{{"topic":"{topic}","data":[{{'.encode()),
    "not_an_object": lambda _: frames.text_frame(b"[1,2,3]"),
    "not_utf8": lambda _: frames.text_frame(b'{"topic":"\xff\xfe"}'),
    "binary": lambda topic: frames.binary_frame(trade_text(topic, "1", "1")),
    "unknown_topic": lambda _: frames.text_frame(b'{"topic":"whatever.BTCUSDT","type":"snapshot","data":{}}'),
    "negative_size": lambda topic: frames.text_frame(trade_text(topic, "1", "-1")),
    "bad_price": lambda topic: frames.text_frame(trade_text(topic, "abc", "1")),
    "huge": lambda topic: frames.text_frame(huge_text(topic)),
    "rsv1": lambda topic: frames.reserved_bit_frame(trade_text(topic, "1", "1")),
    "masked": lambda _: frames.masked_frame(b'{"op":"pong"}'),
    "fragmented": lambda topic: frames.fragments(trade_text(topic, "abc", "1"), 3),
    "bad_pong": lambda _: frames.text_frame(b'{"op":"pong","args":7,"success":"maybe"}'),
}


UNREADABLE: dict[str, Callable[[bytes], bytes]] = {
    "rsv1": frames.reserved_bit_frame,
    "binary": frames.binary_frame,
    "damaged": lambda body: frames.text_frame(b"\xff" + body[1:]),
    "cut": lambda body: frames.text_frame(body[: len(body) // 2]),
    "in_a_list": lambda body: frames.text_frame(b"[" + body + b"]"),
    "deep": lambda body: frames.text_frame(body[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "no_price": lambda body: frames.text_frame(body.replace(b'"p":', b'"price":')),
}


class Faults:
    """The commands that harm clients; each answers how many connections or topics it touched."""

    def __init__(self, hub: Hub, ws: WsServer, api: Gateway) -> None:
        self._hub, self._ws, self._api = hub, ws, api

    def _chosen(self, body: dict[str, Any]) -> list[Connection]:
        """The connections a command names: by "topic" and "category", of them the first "connections" (all)."""
        topic, category = body.get("topic"), body.get("category")
        found = [
            connection
            for connection in self._ws.connections
            if (session := connection.session) is not None
            and (topic is None or topic in session.topics)
            and category in (None, session.category)
        ]
        return found[: int(body.get("connections", len(found)))]

    def drop(self, body: dict[str, Any]) -> dict[str, Any]:
        """ "code": "abort" (TCP ends without a close frame), "rst", or a close code such as 1000 or 1012."""
        chosen, code = self._chosen(body), body.get("code", "abort")
        if code not in ("abort", "rst") and not (isinstance(code, int) and 1000 <= code < 5000):
            raise ValueError(f"code {code!r}: abort, rst or a close code")
        for connection in chosen:
            if code == "rst":
                reset(connection.transport)
            elif code == "abort":
                connection.transport.abort()
            else:
                connection.flush(time.monotonic())
                close_soon(connection, code)
        return {"connections": len(chosen)}

    def outage(self, body: dict[str, Any]) -> dict[str, Any]:
        """End every connection and every handshake without an answer for "s" seconds; the market goes on."""
        self._ws.out_until_s = time.monotonic() + float(body["s"])
        return self.drop({})

    def stall(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send nothing for "s" seconds; with "keep": false the messages of that time are lost."""
        chosen, until_s = self._chosen(body), time.monotonic() + float(body["s"])
        for connection in chosen:
            connection.stall(until_s, bool(body.get("keep", True)))
        return {"connections": len(chosen)}

    def garbage(self, body: dict[str, Any]) -> dict[str, Any]:
        """ "what" names the garbage; "count" frames to each chosen connection."""
        make = GARBAGE.get(body["what"])
        if make is None:
            raise ValueError(f"what: one of {', '.join(GARBAGE)}")
        chosen, count = self._chosen(body), int(body.get("count", 1))
        for connection in chosen:
            assert connection.session is not None
            topic = body.get("topic") or _trades_topic(connection.session.topics)
            connection.session.pending += [make(topic) for _ in range(count)]
        self._hub.counters[f"garbage_{body['what']}"] += len(chosen) * count
        return {"connections": len(chosen), "frames": len(chosen) * count}

    def duplicate(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next "count" messages of each trades topic (or of "topic") go out twice."""
        faults = self._topic_faults(body)
        for fault in faults:
            fault.duplicates += int(body.get("count", 1))
        return {"topics": len(faults)}

    def reorder(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next "count" messages of each trades topic (or of "topic") change places with their successors."""
        faults = self._topic_faults(body)
        for fault in faults:
            fault.swaps += int(body.get("count", 1))
        return {"topics": len(faults)}

    def garble(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next "count" messages of each trades topic (or of "topic") leave unreadable in the way of "what"."""
        garble = UNREADABLE.get(body["what"])
        if garble is None:
            raise ValueError(f"what: one of {', '.join(UNREADABLE)}")
        faults = self._topic_faults(body)
        for fault in faults:
            fault.garble, fault.garbled = garble, int(body.get("count", 1))
        return {"topics": len(faults)}

    def silence(self, body: dict[str, Any]) -> dict[str, Any]:
        """Trades topics (or "topic") of chosen connections bring nothing, though the connection lives and they are
        subscribed anew; {"off": true} ends it everywhere."""
        if body.get("off"):
            for session in self._hub.sessions:
                session.silenced.clear()
            return {"connections": len(self._hub.sessions)}
        chosen = self._chosen(body)
        for connection in chosen:
            assert connection.session is not None
            names = [body["topic"]] if "topic" in body else connection.session.topics
            connection.session.silenced.update(name for name in names if name.startswith("publicTrade."))
        return {"connections": len(chosen)}

    def _topic_faults(self, body: dict[str, Any]) -> list[TopicFault]:
        """The faults of each trades topic, or of "topic"."""
        name, found = body.get("topic"), []
        for topic in self._hub.topics.values():
            if topic.sessions and (topic.name == name if name else topic.kind == "trades"):
                topic.fault = topic.fault or TopicFault()
                found.append(topic.fault)
        return found

    def ban(self, body: dict[str, Any]) -> dict[str, Any]:
        """Handshakes answer 403 for "s" seconds; 0 lifts every ban."""
        seconds = float(body["s"])
        if seconds > 0:
            self._ws.banned_until_s = time.monotonic() + seconds
        else:
            self._ws.lift_ban()
        return {"s": seconds}

    def ratelimit(self, body: dict[str, Any]) -> dict[str, Any]:
        """REST answers "with" 10006 (retCode) or 403 (HTTP) for "s" seconds; 0 lifts it."""
        return self._api.limit_for(float(body["s"]), int(body.get("with", 10006)))


def _trades_topic(names: Iterable[str]) -> str:
    return next((name for name in names if name.startswith("publicTrade.")), NAMELESS)
