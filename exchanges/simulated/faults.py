"""Faults on command: of the exchange and of the network.

Event loop thread only. Nothing here changes the truth: hand-made trades never happened, duplicates happened once.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from . import frames
from .dialect import Garbage
from .hub import Frame, Hub, Session, TopicFault
from .rest import reset
from .server import Connection, WsServer, close_soon

HUGE_BYTES = 5_000_000


def huge_text(head: bytes) -> bytes:
    """Five megabytes of valid JSON with a known topic."""
    head, tail = head + b',"padding":"', b'"}'
    return head + b"x" * (HUGE_BYTES - len(head) - len(tail)) + tail


Make = Callable[[Frame, Garbage, str], bytes]  # a frame out of an exchange's pieces, for a topic
GARBAGE: dict[str, Make] = {
    "malformed_json": lambda frame, of, topic: frame(of.head(topic) + b',"x":[{'),
    "not_an_object": lambda frame, _of, _topic: frame(b"[1,2,3]"),
    "not_utf8": lambda frame, _of, _topic: frame(b'{"topic":"\xff\xfe"}'),
    "binary": lambda _, of, topic: frames.binary_frame(of.trade(topic, "1", "1")),
    "unknown_topic": lambda frame, of, _topic: frame(of.unknown),
    "negative_size": lambda frame, of, topic: frame(of.trade(topic, "1", "-1")),
    "bad_price": lambda frame, of, topic: frame(of.trade(topic, "abc", "1")),
    "huge": lambda frame, of, topic: frame(huge_text(of.head(topic))),
    "rsv1": lambda _, of, topic: frames.reserved_bit_frame(of.trade(topic, "1", "1")),
    "masked": lambda _, _of, _topic: frames.masked_frame(b'{"op":"pong"}'),
    "fragmented": lambda _, of, topic: frames.fragments(of.trade(topic, "abc", "1"), 3),
    "bad_pong": lambda frame, of, _topic: frame(of.pong),
}
Garble = Callable[[Garbage, Frame, bytes], bytes]
UNREADABLE: dict[str, Garble] = {
    "rsv1": lambda _of, _frame, body: frames.reserved_bit_frame(body),
    "binary": lambda _of, _frame, body: frames.binary_frame(body),
    "damaged": lambda _, frame, body: frame(b"\xff" + body[1:]),
    "cut": lambda _, frame, body: frame(body[: len(body) // 2]),
    "in_a_list": lambda _, frame, body: frame(b"[" + body + b"]"),
    "deep": lambda _, frame, body: frame(body[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "no_price": lambda of, frame, body: frame(body.replace(of.price_key, b'"cost":')),
}


class Faults:
    """The commands that harm clients; each answers how many connections or topics it touched."""

    def __init__(self, hub: Hub, ws: WsServer, garbage: Garbage) -> None:
        self._hub, self._ws, self._garbage = hub, ws, garbage

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
        """ "code": "abort" (TCP ends without a close frame), "rst", or a close code such as 1000 or 1012.

        From the answer on they count as gone, even while a closing handshake goes on.
        """
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
            self._ws.forget(connection)
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
            topic = body.get("topic") or self._trades_topic(connection.session)
            connection.session.pending += [make(connection.session.wrap, self._garbage, topic) for _ in range(count)]
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
            fault.garble, fault.garbled = partial(garble, self._garbage), int(body.get("count", 1))
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
            topics = connection.session.topics
            names = [body["topic"]] if "topic" in body else topics
            is_traded = (name for name in names if name in topics and topics[name].kind == "trades")
            connection.session.silenced.update(is_traded)
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

    def hole(self, body: dict[str, Any]) -> dict[str, Any]:
        """The next "count" messages of a "symbol"'s trades (in "category") are not sent, to the first "connections"
        of its subscribers or to all; nothing disconnects, and REST has the trades."""
        count, found = int(body["count"]), 0
        for topic in self._hub.topics.values():
            is_meant = topic.symbol == body["symbol"] and topic.category == body.get("category", topic.category)
            if topic.kind == "trades" and is_meant and topic.sessions:
                topic.fault = topic.fault or TopicFault()
                topic.fault.holes = count
                victims = topic.sessions[: int(body.get("connections", len(topic.sessions)))]
                topic.fault.holes_for = frozenset(victims)
                found += 1
        return {"topics": found}

    def notice(self, body: dict[str, Any]) -> dict[str, Any]:
        """Chosen connections end in "s" seconds, and are told so now, where the exchange has words for it."""
        chosen, ends_s = self._chosen(body), time.monotonic() + float(body["s"])
        for connection in chosen:
            connection.ends_s = ends_s
            self._ws.announce(connection)
        return {"connections": len(chosen)}

    def _trades_topic(self, session: Session) -> str:
        return next((n for n, topic in session.topics.items() if topic.kind == "trades"), self._garbage.nameless)
