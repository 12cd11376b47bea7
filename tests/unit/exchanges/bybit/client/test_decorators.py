"""What services of one's own are marked with."""

import asyncio
import time
from typing import Any

import pytest
import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError

from exchanges.bybit.client import errors
from exchanges.bybit.client.decorators import rate_limited, with_error_handling
from exchanges.bybit.client.errors import BybitError
from exchanges.bybit.client.limits import GROUPS
from tests.unit.exchanges.bybit.client.steps_run import engine


class Own:
    """A service as the developer guide has it; its engine stands in for its api_client."""

    def __init__(self, mode: str = "raise") -> None:
        engine_ = engine(mode)
        self.api_client = type("Api", (), {"limits": engine_.limits, "connection": engine_.connection, "mode": mode})()

    @with_error_handling
    @rate_limited("order")
    def ask(self, answer: Any) -> Any:
        """Something."""
        if isinstance(answer, Exception):
            raise answer
        return answer

    @with_error_handling
    @rate_limited("order")
    async def ask_async(self, answer: Any) -> Any:
        """Something."""
        return answer


def test_a_group_is_a_limit() -> None:
    """So many calls per second, then RateLimitError for who does not want to wait."""
    own = Own()
    for _ in range(GROUPS["order"]):
        own.ask(1)
    with pytest.raises(errors.RateLimitError):
        own.ask(1)


def test_calls_beyond_the_rate_wait() -> None:
    """One more than the limit takes about a second."""
    own = Own("wait")
    begin_s = time.monotonic()
    for _ in range(GROUPS["order"] + 1):
        own.ask(1)
    assert time.monotonic() - begin_s >= 0.9


def test_a_group_that_does_not_exist_is_refused_at_once() -> None:
    """Where the method is written, not where it is called."""
    with pytest.raises(ValueError, match="market"):
        rate_limited("markets")


def test_functions_without_a_client_are_limited_too() -> None:
    """They share one bucket per group."""

    @rate_limited("market")
    def plain(number: int) -> int:
        return number

    assert plain(3) == 3


def test_answers_are_opened() -> None:
    """The result of a whole answer; what is none stays."""
    own = Own()
    opened = own.ask({"retCode": 0, "result": {"a": 1}, "time": 5})
    assert (opened, opened.raw["time"]) == ({"a": 1}, 5)
    assert own.ask([1]) == [1]
    assert asyncio.run(own.ask_async({"retCode": 0, "result": {"a": 2}})) == {"a": 2}


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        ({"retCode": 110007, "retMsg": "no"}, errors.OrderRejectedError),
        (InvalidRequestError("r", "no", 10004, "t", None), errors.AuthError),
        (FailedRequestError("r", "no", 502, "t", None), errors.ServerError),
        (requests.Timeout("late"), errors.NetworkError),
        (errors.RequestError("as it is"), errors.RequestError),
    ],
)
def test_failures_become_the_tree(raised: Any, kind: type[BybitError]) -> None:
    """pybit's, requests' and a bad retCode."""
    with pytest.raises(BybitError) as caught:
        Own().ask(raised)
    assert type(caught.value) is kind
