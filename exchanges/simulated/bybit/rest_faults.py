"""Bybit's own REST faults: refusals by retCode, cursors that lead nowhere, rows that are not right."""

from typing import Any
from urllib.parse import quote

from ..rest import Answer, Request
from ..rest_faults import DONE, UNDONE, RestFaults, seconds_of

BENT = ("odd_row", "null_list", "null_cursor")  # well-formed answers that are not right
FIRST_PAGE = {"/v5/market/instruments-info": "first%3D0"}
FIRST_PAGE_OTHERS = "page_token%3D9007199254740992%26"
RATE_LIMITED, EXPIRED = 10006, 10002


class BybitFaults(RestFaults):
    """The engine's faults and Bybit's."""

    undone = ("rate_limited", "expired_request", "ret_code", *UNDONE)
    done = (*DONE, "cursor_loop", "empty_page", *BENT)

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a fault: the command rest_fault."""
        if body["what"] == "ret_code":
            int(body["code"])
        return super().add(body)

    def refusal(self, what: str, options: dict[str, Any]) -> Answer:
        """Refuse a request that is not carried out."""
        if what in UNDONE:
            return super().refusal(what, options)
        now_ms = self.now_ms()
        code, message, reset_ms = int(options.get("code", 10016)), str(options.get("msg", "Server error.")), now_ms
        if what == "rate_limited":
            code, message = RATE_LIMITED, "Too many visits. Exceeded the API Rate Limit."
            reset_ms = now_ms + int(seconds_of(options) * 1000)
        elif what == "expired_request":
            code, message = EXPIRED, "invalid request, please check your server timestamp or recv_window param."
        names = ("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp")
        headers = tuple(zip(names, ("10", "0", str(reset_ms)), strict=True))
        body = {"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": now_ms}
        return Answer(200, body, headers)

    def damaged(self, what: str, options: dict[str, Any], request: Request, answer: Answer) -> Answer:
        """Damage an answer. A looping cursor leads to the page it came with."""
        if what in DONE:
            return super().damaged(what, options, request, answer)
        if what in BENT:
            return answer._replace(body=_bent(what, options, answer.body)) if isinstance(answer.body, dict) else answer
        result = answer.body.get("result") if isinstance(answer.body, dict) else None
        if isinstance(result, dict) and "list" in result:
            rows = [] if what == "empty_page" else result["list"]
            first = FIRST_PAGE.get(request.path, FIRST_PAGE_OTHERS)
            own = quote(request.query["cursor"], safe="") if request.query.get("cursor") else first
            result = {**result, "list": rows, "nextPageCursor": own}
            return answer._replace(body={**answer.body, "result": result})
        return answer


def _bent(what: str, options: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Change one row of the body (`row`, or the middle one; its `column` to `value`), or with a null."""
    result = dict(body.get("result") or {})
    if what == "null_cursor":
        return {**body, "result": {**result, "nextPageCursor": None}}
    rows = None if what == "null_list" else list(result.get("list") or ())
    if rows:
        index = int(options.get("row", len(rows) // 2)) % len(rows)
        rows[index] = _changed(rows[index], options)
    return {**body, "result": {**result, "list": rows}}


def _changed(row: Any, options: dict[str, Any]) -> Any:
    """Change one column of a row; without a column the whole row becomes the value."""
    column, value = options.get("column"), options.get("value")
    if column is None:
        return value
    if isinstance(row, dict):
        return {**row, str(column): value}
    return [value if number == int(column) else each for number, each in enumerate(row)]
