"""The exchange's own REST protocol on the web server's port: routes of a MarketApi (model/market_api.py).

The event loop's thread. Bounds what waits at once, and for how long; beyond that, and for what makes no sense, clients
get the exchange's own form of a refusal.
"""

import asyncio
import re
from http import HTTPStatus

import structlog

from consumers.web.http import JSON, HttpAnswer, HttpRequest, Route, Routes
from model.market_api import ApiAnswer, ApiRequest, MarketApi
from model.pacing import ThrottledLogger

log = structlog.get_logger()

WAITING_MOST = 500  # requests that are being answered
ANSWER_S = 8.0  # for an answer; websockets ends a request after 10 s, and so do most clients
PLAIN_PATH = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")
ODD_CHARACTER = re.compile(
    r"[^\w.,:=&%+/@\[\]\" -]"
)  # what a firewall refuses by 403 would count as a ban of this address
PATH_LENGTH, VALUE_LENGTH = 200, 4_000  # Binance takes lists of symbols: 100 of them have some 1,500 characters


class ExchangeApi:
    """Answers requests by `api`."""

    def __init__(self, api: MarketApi, *, waiting_most: int = WAITING_MOST, answer_s: float = ANSWER_S) -> None:
        self._api, self._waiting_most, self._answer_s = api, waiting_most, answer_s
        self._waiting = 0
        self._logger = ThrottledLogger(log)

    def routes(self) -> Routes:
        """Return the routes of its paths."""
        route = Route(self.answer, refuse=self.refuse)
        return dict.fromkeys(self._api.paths, route)

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request; raises nothing."""
        if len(request.path) > PATH_LENGTH or not PLAIN_PATH.fullmatch(request.path):
            return self.refuse(404, "there is no such path")
        if any(len(name) + len(value) > VALUE_LENGTH for name, value in request.query.items()):
            return self.refuse(400, f"a parameter is longer than {VALUE_LENGTH} characters")
        names_are_plain = all(map(PLAIN_NAME.fullmatch, request.query))
        if not names_are_plain or any(map(ODD_CHARACTER.search, request.query.values())):
            return self.refuse(400, "a parameter has characters that no exchange takes")
        if self._waiting >= self._waiting_most:
            return http_answer(self._api.unavailable(f"{self._waiting_most} requests are being answered already"))
        self._waiting += 1
        try:
            async with asyncio.timeout(self._answer_s):
                return http_answer(await self._api.answer(ApiRequest(request.path, request.query)))
        except TimeoutError:
            return http_answer(self._api.unavailable(f"no answer in {self._answer_s:g} s"))
        except Exception:  # a mistake of the exchange's part costs its own request
            self._logger.exception("market_api_failed", path=request.path)
            return self.refuse(500, "this failed in the collector, whose log says why")
        finally:
            self._waiting -= 1

    def refuse(self, status: int, reason: str) -> HttpAnswer:
        """Write a refusal as the exchange does."""
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            return http_answer(self._api.unavailable(reason))
        return http_answer(self._api.refused(status, reason))


def http_answer(answer: ApiAnswer) -> HttpAnswer:
    """Write an answer for HTTP."""
    return HttpAnswer(answer.status, answer.body, JSON, {"X-Collector": answer.source, **answer.headers})
