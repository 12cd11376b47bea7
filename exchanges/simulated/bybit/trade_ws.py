"""The trade socket: orders by WebSocket, under the same limits as by REST (BYBIT_V5.md section 5).

Event loop thread only. Serves sessions of the category "trade". An answer means accepted, not executed.
"""

import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from ..hub import Hub, Session
from .auth import AuthError, Keys, check_time
from .private_api import RATE_LIMITED, PrivateApi
from .private_ws import AuthFaults, authenticate, read_frame, send
from .rest_limits import OrderCounts, Verdict

OPS = {
    f"order.{op}{batch}": f"/v5/order/{op}{batch}" for op in ("create", "amend", "cancel") for batch in ("", "-batch")
}
MAX_REQ_ID = 36
REQ_IDS_KEPT = 10_000  # per connection, for the refusal of repeated ones
BAD_OP, REPEATED_AUTH, REPEATED_REQ_ID = 10404, 20001, 20006


class TradeStream:
    """Answers the frames of the trade socket."""

    def __init__(
        self, hub: Hub, keys: Keys, api: PrivateApi, counts: OrderCounts, faults: AuthFaults, now_ms: Callable[[], int]
    ) -> None:
        self._hub, self._keys, self._api, self._order_counts = hub, keys, api, counts
        self._auth_faults, self._now_ms = faults, now_ms
        self._faults: deque[str | int] = deque()

    def fault(self, what: str | int, count: int) -> None:
        """Set faults: the next requests are done without an answer ("withhold"), or refused with a retCode."""
        if what != "withhold" and not isinstance(what, int):
            raise ValueError("what: withhold or a retCode")
        self._faults.extend([what] * count)

    def handle(self, session: Session, message: str | bytes) -> None:
        """Answer one message of a client; nothing a client sends raises."""
        request = read_frame(message)
        op = str(request.get("op", ""))
        if op == "ping":
            self._hub.counters["pings"] += 1
            self._short(session, 0, "OK", "pong", data=[str(self._now_ms())])
        elif op == "auth":
            self._auth(session, request.get("args"))
        elif op not in OPS:
            self._answer(session, request, BAD_OP, "op type is not found")
        elif session.uid is None:
            self._answer(session, request, 10003, "not authorized: send auth first")
        else:
            self._order(session, session.uid, request, op)

    def _auth(self, session: Session, args: Any) -> None:
        fault = self._auth_faults.take("trade")
        if fault == "silent":
            return
        if fault or session.uid is not None:
            code, message = (10003, "API key is invalid.") if fault else (REPEATED_AUTH, "Repeat auth")
            self._short(session, code, message, "auth")
            return
        code, message = authenticate(self._hub, self._keys, session, args, self._now_ms())
        self._short(session, code, message or "OK", "auth")

    def _short(self, session: Session, code: int, message: str, op: str, **more: Any) -> None:
        send(session, {"retCode": code, "retMsg": message, "op": op, **more, "connId": session.conn_id})

    def _order(self, session: Session, uid: int, request: dict[str, Any], op: str) -> None:
        args, headers = request.get("args"), request.get("header")
        params = args[0] if isinstance(args, list) and args and isinstance(args[0], dict) else None
        self._order_counts.receive(OPS[op], params or {})
        objection = self._objection(session, request, headers, params)
        if objection is not None:
            self._answer(session, request, *objection)
            return
        assert params is not None
        fault = self._faults.popleft() if self._faults else ""
        if isinstance(fault, int):
            self._answer(session, request, fault, "refused on command")
            return
        verdict = self._api.take(uid, "POST", OPS[op], params)
        if verdict.is_refused:
            self._answer(session, request, *RATE_LIMITED, verdict=verdict)
            return
        code, message, result, extra = self._api.run(uid, OPS[op], params)
        self._order_counts.settle(OPS[op], params, code, result)
        if not fault:
            self._answer(session, request, code, message, result, extra, verdict)

    def _objection(
        self, session: Session, request: dict[str, Any], headers: Any, params: dict[str, Any] | None
    ) -> tuple[int, str] | None:
        """The reason why a request is not carried out; None where there is none."""
        req_id = str(request.get("reqId") or "")
        known = session.req_ids
        if len(req_id) > MAX_REQ_ID or req_id in known:
            return (REPEATED_REQ_ID, "Duplicate reqId") if req_id in known else (10001, "reqId is too long")
        if req_id:
            known[req_id] = None
            if len(known) > REQ_IDS_KEPT:
                del known[next(iter(known))]
        if params is None or not isinstance(headers, dict):
            return 10001, "params error: header and one arg are required"
        try:
            window = str(headers.get("X-BAPI-RECV-WINDOW") or "")
            check_time(str(headers.get("X-BAPI-TIMESTAMP") or ""), window, self._now_ms())
        except AuthError as error:
            return error.code, error.message
        return None

    def _answer(
        self, session: Session, request: dict[str, Any], code: int, message: str, result: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None, verdict: Verdict | None = None,
    ) -> None:  # fmt: skip
        now_ms = self._now_ms()
        limits = dict(verdict.headers(now_ms)) if verdict is not None else {}
        answer = {
            "retCode": code, "retMsg": message, "op": str(request.get("op", "")), "data": result or {},
            "retExtInfo": extra or {}, "header": {**limits, "Traceid": uuid.uuid4().hex, "Timenow": str(now_ms)},
            "connId": session.conn_id,
        }  # fmt: skip
        send(session, {"reqId": request["reqId"], **answer} if request.get("reqId") else answer)
