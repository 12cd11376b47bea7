"""pybit's HTTP client, one attempt at a time, its failures sorted by what can be done about them.

pybit 5.17 gives paths, queries and the connection pool. Its retries are switched off: they sleep without an end that
we could set. What is leaned on is held by tests/unit/exchanges/bybit/test_pybit_rest_contract.py. Thread safe.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP

from network.deadline import Stop
from network.http import Session

CONNECT_TIMEOUT_S = 3.05  # a little more than TCP's first retransmission
READ_TIMEOUT_S = 5.0  # between two pieces of an answer; Bybit answers in tens of milliseconds
REQUEST_TIMEOUT_S = 15.0  # from the name to the last byte
POOL_SIZE = 8  # connections kept; more askers than this at once open and close their own

LIMITED_CODES = frozenset({10006})  # docs: error
BANNED_CODES = frozenset({10018})
SERVER_CODES = frozenset({-1, 429, 10000, 10016})  # the server's own trouble
BANNED_STATUS = 403
REFUSALS = range(400, 500)  # the rest is none: a redirect, which is not followed, or nothing where much was asked for
PASSING_STATUS = frozenset({408, 409, 429})  # 409 is how pybit says that an answer was no JSON
RESET_HEADER = "X-Bapi-Limit-Reset-Timestamp"
MOST_DIGITS = 15  # of a code or a time in ms: more is neither, and may be more than a float or Python's int takes

Remedy = Literal["wait", "breaker", "retry", "none"]


class RestError(Exception):
    """A request failed. `reset_ms` (exchange time) says until when to wait, where the exchange said so."""

    def __init__(self, remedy: Remedy, text: str, reset_ms: int = 0) -> None:
        super().__init__(text)
        self.remedy: Remedy = remedy
        self.reset_ms = reset_ms


class BybitRest:
    """The public market endpoints. Nothing is opened before the first request."""

    def __init__(self, url: str | None, testnet: bool, stop: Stop | None = None) -> None:
        """`stop` ends what is on its way; raises ValueError where certificates are named that are not there."""
        self.http = HTTP(testnet=testnet, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S), max_retries=1)
        self.http.retry_codes = set()  # an empty set given to the constructor means pybit's own
        self.http.endpoint = url.rstrip("/") if url else self.http.endpoint
        session = Session(REQUEST_TIMEOUT_S, POOL_SIZE, stop)
        session.headers.update(self.http.client.headers)
        self.http.client.close()
        self.http.client = session

    def server_time(self) -> Any:
        """GET /v5/market/time: the `result` part; raises RestError, as all of these."""
        return attempt(self.http.get_server_time)

    def kline(self, **query: Any) -> Any:
        """GET /v5/market/kline"""
        return attempt(self.http.get_kline, **query)

    def recent_trade(self, **query: Any) -> Any:
        """GET /v5/market/recent-trade"""
        return attempt(self.http.get_public_trade_history, **query)

    def instruments_info(self, **query: Any) -> Any:
        """GET /v5/market/instruments-info"""
        return attempt(self.http.get_instruments_info, **query)

    def tickers(self, **query: Any) -> Any:
        """GET /v5/market/tickers"""
        return attempt(self.http.get_tickers, **query)

    def close(self) -> None:
        """Close the kept connections; a later request opens new ones."""
        self.http.client.close()


def attempt(call: Callable[..., Any], **query: Any) -> Any:
    """The `result` of one answer; raises RestError."""
    try:
        return call(**query)["result"]
    except InvalidRequestError as error:
        raise RestError(_remedy_of_code(error.status_code), _coded("retCode", error), _reset_ms(error)) from error
    except FailedRequestError as error:
        raise RestError(_remedy_of_status(error.status_code), _coded("HTTP", error)) from error
    except requests.RequestException as error:
        raise RestError("retry", f"{type(error).__name__}: {error}") from error
    except (LookupError, AttributeError, TypeError, ValueError, RecursionError, ArithmeticError) as error:
        # no answer of Bybit's: other JSON, or a thousand brackets
        raise RestError("retry", f"the answer makes no sense: {error!r}") from error


def _coded(kind: str, error: InvalidRequestError | FailedRequestError) -> str:
    return f"{kind} {error.status_code}: {error.message}"


def _remedy_of_code(code: object) -> Remedy:
    if isinstance(code, str) and code.isdecimal():
        code = int(code[:MOST_DIGITS])
    if not isinstance(code, int | float):
        return "retry"  # no code of Bybit's
    if code in LIMITED_CODES:
        return "wait"
    if code in BANNED_CODES:
        return "breaker"
    return "retry" if code in SERVER_CODES else "none"


def _remedy_of_status(status: int) -> Remedy:
    if status == BANNED_STATUS:
        return "breaker"
    return "none" if status in REFUSALS and status not in PASSING_STATUS else "retry"


def _reset_ms(error: InvalidRequestError) -> int:
    headers: Mapping[str, str] = error.resp_headers or {}
    text = headers.get(RESET_HEADER, "")
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else 0
