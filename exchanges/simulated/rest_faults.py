"""REST faults: refusals, no answer, late and broken answers, on command or drawn at random from a seed.

Event loop thread only. Each fault states whether the request is carried out first: the exchange may have done
what a client cannot see.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from .rest import Answer, Request

HTML = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"
PLAIN, PAGE = "text/plain", "text/html; charset=UTF-8"
UNDONE = ("http", "html", "hang", "reset")
DONE = ("hang_after", "reset_after", "truncate", "slow", "late")


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
    """Applies faults before the endpoints whose paths begin with `prefix`. `struck` counts them by name.

    A dialect adds its own: names in `undone` and `done`, and what they mean in `refusal` and `damaged`.
    """

    undone: tuple[str, ...] = UNDONE
    done: tuple[str, ...] = DONE

    def __init__(self, now_ms: Callable[[], int], prefix: str) -> None:
        self.now_ms, self._prefix = now_ms, prefix
        self._faults: list[Fault] = []
        self._lottery: RandomFaults | None = None
        self.struck: Counter[str] = Counter()

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add a fault: the command rest_fault."""
        what = self._known(str(body["what"]))
        left = body.get("count", 1)
        left = left if left is None else int(left)
        fault = Fault(what, left, str(body.get("path") or self._prefix), str(body.get("method") or ""), body)
        if what == "http":
            int(body["status"])
        self._faults.append(fault)
        return {"waiting": len(self._faults)}

    def mix(self, body: dict[str, Any]) -> dict[str, Any]:
        """Set the random faults: the command rest_mix; without shares there are none."""
        shares = {self._known(str(what)): float(share) for what, share in dict(body.get("shares") or {}).items()}
        if sum(shares.values()) > 1 or any(share < 0 for share in shares.values()):
            raise ValueError("shares must not be negative, nor more than 1 together")
        path = str(body.get("path") or self._prefix)
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
        if what in self.undone:
            return self.refusal(what, options)
        if what == "late":
            return Answer(200, "", delay_s=seconds_of(options), later=work)
        return self.damaged(what, options, request, work())

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

    def refusal(self, what: str, options: dict[str, Any]) -> Answer:
        """Refuse a request that is not carried out; "http" with a "status", "body", and seconds of "retry_after"."""
        if what == "http":
            status = int(options["status"])
            usual = "403, access too frequent" if status == 403 else HTML
            wait = options.get("retry_after")
            headers = () if wait is None else (("Retry-After", str(wait)),)
            kind = PLAIN if status == 403 else PAGE
            body = options.get("body", usual)
            return Answer(status, body, headers, "application/json" if isinstance(body, dict) else kind)
        if what == "html":
            return Answer(200, HTML, content_type=PAGE)
        return Answer(200, "", loss=what)

    def damaged(self, what: str, options: dict[str, Any], request: Request, answer: Answer) -> Answer:  # noqa: ARG002
        """Damage an answer whose request was carried out."""
        if what == "slow":
            return answer._replace(delay_s=seconds_of(options))
        return answer._replace(loss=what.removesuffix("_after"))

    def _known(self, what: str) -> str:
        if what not in (*self.undone, *self.done):
            raise ValueError(f"what: one of {', '.join((*self.undone, *self.done))}")
        return what


def seconds_of(options: dict[str, Any]) -> float:
    """How long a fault lasts: "s", one second without it."""
    return float(options.get("s", 1.0))
