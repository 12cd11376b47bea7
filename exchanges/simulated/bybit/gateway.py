"""The entry of the REST port: bans, commanded refusals and faults first, then market or private endpoints.

Event loop thread only. Every request under /v5/ counts for its IP, whatever its outcome.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ..rest import Answer, Request
from ..rest_faults import RestFaults
from .market_api import MarketApi
from .private_api import NO_ROUTE, RATE_LIMITED, PrivateApi
from .rest_limits import IpLimit, OrderCounts


class Gateway:
    """Answers all requests under /v5/."""

    def __init__(
        self, market: MarketApi, private: PrivateApi, ip: IpLimit, faults: RestFaults, order_counts: OrderCounts,
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._market, self.private, self.ip, self.faults, self.order_counts = market, private, ip, faults, order_counts
        self._now_ms = now_ms
        self._limited_until_s, self._limited_with = 0.0, RATE_LIMITED[0]

    def limit_for(self, seconds: float, with_code: int) -> dict[str, Any]:
        """Refuse all for a while: 10006 as retCode (the usual one), 403 as HTTP status; 0 seconds lifts every limit."""
        with_code = with_code or RATE_LIMITED[0]
        if with_code not in (RATE_LIMITED[0], 403):
            raise ValueError(f"with {with_code}: 10006 or 403")
        self._limited_until_s, self._limited_with = time.monotonic() + seconds, with_code
        if seconds == 0:
            self.ip.lift()
        return {"s": seconds, "with": with_code}

    def answer(self, request: Request) -> Answer:
        """Answer one request, or return how its answer fails to arrive."""
        now_s = time.monotonic()
        is_limited = now_s < self._limited_until_s
        self.order_counts.receive(request.path, request.body)
        is_banned = self.ip.is_banned(request.client_ip, now_s)
        if is_banned or (is_limited and self._limited_with == 403):
            return Answer(403, "403, access too frequent", content_type="text/plain")
        if is_limited:
            reset_ms = int((self._limited_until_s - now_s) * 1000) + self._now_ms()
            return self._market_answer(request, *RATE_LIMITED, {}, reset_ms)
        return self.faults.answer(request, partial(self._work, request))

    def _work(self, request: Request) -> Answer:
        """Carry a request out. Market data needs no key and is read by GET alone."""
        if not request.method.isupper():
            return Answer(400, "")
        if request.method == "GET" and request.raw_body:
            return Answer(403, "403 Forbidden", content_type="text/plain")
        if not request.path.startswith("/v5/market/"):
            answer = self.private.answer(request)
            if answer.status == 200:
                self.order_counts.settle(request.path, request.body, answer.body["retCode"], answer.body["result"])
            return answer
        if request.method != "GET" or not self._market.has_endpoint(request.path):
            return self._market_answer(request, *NO_ROUTE, {})._replace(status=404)
        return self._market_answer(request, *self._market.run(request.path, request.query))

    def _market_answer(
        self, request: Request, code: int, message: str, result: dict[str, Any], reset_ms: int = 0
    ) -> Answer:
        """The answer of a public endpoint, its headers with what is left of the IP's requests."""
        now_ms = self._now_ms()
        headers = (
            ("X-Bapi-Limit", str(self.ip.per_window)),
            ("X-Bapi-Limit-Status", str(0 if reset_ms else self.ip.left(request.client_ip))),
            ("X-Bapi-Limit-Reset-Timestamp", str(reset_ms or now_ms)),
        )
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now_ms}
        return Answer(200, body, headers)
