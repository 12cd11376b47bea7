"""REST faults: refusals, no answer, late and broken answers, on command or drawn at random from a seed.

Event loop thread only. Each fault states whether the request is carried out first: the exchange may have done
what a client cannot see.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from .rest import Answer, Request

HTML = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
PLAIN, PAGE = "text/plain", "text/html; charset=UTF-8"
BENT = ("odd_row", "null_list", "null_cursor")  # well-formed answers that are not right
UNDONE = ("rate_limited", "expired_request", "ret_code", "http", "html", "hang", "reset")
DONE = ("hang_after", "reset_after", "truncate", "slow", "cursor_loop", "empty_page", "late", *BENT)
FIRST_PAGE = {"/v5/market/instruments-info": "first%3D0"}
FIRST_PAGE_OTHERS = "page_token%3D9007199254740992%26"
RATE_LIMITED, EXPIRED = 10006, 10002


@dataclass(slots=True)
class Fault:
    """One command; `left` None goes on until it is cleared."""

    what: str
    left: int | None
    path: str
    method: str
    options: dict[str, Any]

    def wants(self, request: Request) -> bool:
        """Whether a fault applies to a request: by path prefix and method, where they are given."""
        return request.path.startswith(self.path) and self.method in ("", request.method)


@dataclass(slots=True)
class RandomFaults:
    """Faults drawn at random for the requests of a path."""

    shares: dict[str, float]
    path: str
    options: dict[str, Any]
    rng: Random

    def draw(self) -> str:
        """Draw the fault of a request; empty for none."""
        dice = self.rng.random()
        for what, share in self.shares.items():
            if dice < share:
                return what
            dice -= share
        return ""


class RestFaults:
    """Applies faults before the endpoints. `struck` counts them by name."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._faults: list[Fault] = []
        self._lottery: RandomFaults | None = None
        self.struck: Counter[str] = Counter()

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a fault: the command rest_fault."""
        what = _known(str(body["what"]))
        left = body.get("count", 1)
        left = left if left is None else int(left)
        fault = Fault(what, left, str(body.get("path") or "/v5/"), str(body.get("method") or ""), body)
        if what == "http":
            int(body["status"])
        if what == "ret_code":
            int(body["code"])
        self._faults.append(fault)
        return {"waiting": len(self._faults)}

    def mix(self, body: dict[str, Any]) -> dict[str, Any]:
        """Set the random faults: the command rest_mix; without shares there are none."""
        shares = {_known(str(what)): float(share) for what, share in dict(body.get("shares") or {}).items()}
        if sum(shares.values()) > 1 or any(share < 0 for share in shares.values()):
            raise ValueError("shares must not be negative, nor more than 1 together")
        path = str(body.get("path") or "/v5/")
        self._lottery = RandomFaults(shares, path, body, Random(int(body.get("seed", 1)))) if shares else None
        return {"shares": shares}

    def clear(self) -> dict[str, Any]:
        """Remove all faults: the command rest_clear; answers the counts so far."""
        self._faults.clear()
        self._lottery = None
        return {"struck": dict(self.struck)}

    def answer(self, request: Request, work: Callable[[], Answer]) -> Answer:
        """`work` carries the request out; it is called once, later, or never."""
        what, options = self._next(request)
        if not what:
            return work()
        self.struck[what] += 1
        if what in UNDONE:
            return self._refusal(what, options)
        if what == "late":
            return Answer(200, "", delay_s=_seconds(options), later=work)
        return _damaged(what, options, request, work())

    def _next(self, request: Request) -> tuple[str, dict[str, Any]]:
        for fault in self._faults:
            if fault.wants(request):
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left <= 0:
                        self._faults.remove(fault)
                return fault.what, fault.options
        lottery = self._lottery
        if lottery is not None and request.path.startswith(lottery.path):
            return lottery.draw(), lottery.options
        return "", {}

    def _refusal(self, what: str, options: dict[str, Any]) -> Answer:
        now_ms = self._now_ms()
        if what == "http":
            status = int(options["status"])
            usual = "403, access too frequent" if status == 403 else HTML
            return Answer(status, str(options.get("body", usual)), content_type=PLAIN if status == 403 else PAGE)
        if what == "html":
            return Answer(200, HTML, content_type=PAGE)
        if what in ("hang", "reset"):
            return Answer(200, "", loss=what)
        code, message, reset_ms = int(options.get("code", 10016)), str(options.get("msg", "Server error.")), now_ms
        if what == "rate_limited":
            code, message = RATE_LIMITED, "Too many visits. Exceeded the API Rate Limit."
            reset_ms = now_ms + int(_seconds(options) * 1000)
        elif what == "expired_request":
            code, message = EXPIRED, "invalid request, please check your server timestamp or recv_window param."
        names = ("X-Bapi-Limit", "X-Bapi-Limit-Status", "X-Bapi-Limit-Reset-Timestamp")
        headers = tuple(zip(names, ("10", "0", str(reset_ms)), strict=True))
        body = {"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": now_ms}
        return Answer(200, body, headers)


def _known(what: str) -> str:
    if what not in (*UNDONE, *DONE):
        raise ValueError(f"what: one of {', '.join((*UNDONE, *DONE))}")
    return what


def _seconds(options: dict[str, Any]) -> float:
    return float(options.get("s", 1.0))


def _damaged(what: str, options: dict[str, Any], request: Request, answer: Answer) -> Answer:
    """Damage an answer whose request was carried out. A looping cursor leads to the page it came with."""
    if what in ("hang_after", "reset_after", "truncate"):
        return answer._replace(loss=what.removesuffix("_after"))
    if what == "slow":
        return answer._replace(delay_s=_seconds(options))
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
