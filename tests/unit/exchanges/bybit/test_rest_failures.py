"""What is done about each failure: how often it is asked again, and how long is waited."""

import json

import pytest
import requests

from exchanges.bybit.client.limits import REFUSED_WAIT_S
from exchanges.retries import ATTEMPTS, BACKOFF_S
from model.ports import HistoryError
from tests.unit.exchanges.bybit.rest_stub import NOW_MS, Exchange, Reply, enveloped, in_turn, klines, row

TIME = enveloped({"timeSecond": "1", "timeNano": f"{NOW_MS}000000"})
BAD_CANDLES = [
    ("1", "0.9", "0.5", "0.8", "1", "1"),  # high below open
    ("1", "2", "0.9", "0.8", "1", "1"),  # low above close
    ("1", "NaN", "0.5", "0.8", "1", "1"),
    ("1", "2", "0.5", "0.8", "Infinity", "1"),
    ("1", "2", "0.5", "", "1", "1"),
    ("1", "2", "0.5"),
    ("1", "1e999999999", "0.5", "0.8", "1", "1"),
    ("1", "2", "1e-999999999", "0.8", "1", "1"),
    ("1", "2", "0.5", "0.8", "0e-999999999", "1"),
    ("1", "2", "0.5", "0.8", "1", "9" * 5000),
]
PASSING: list[Reply | Exception] = [
    (500, "Internal Server Error", {}),
    (502, "<html>", {}),
    (429, "", {}),
    (200, "<html>not Bybit</html>", {}),
    (200, "", {}),
    (200, "[1]", {}),
    (200, "7", {}),
    (200, "null", {}),
    (200, "{}", {}),
    (200, json.dumps({"retCode": 7}), {}),
    enveloped(None),
    enveloped([]),
    enveloped({"timeNano": "soon"}),
    enveloped({}, "OK"),  # type: ignore[arg-type]
    enveloped({}, "10000"),  # type: ignore[arg-type]
    (204, "", {}),
    (302, "", {"Location": "https://login"}),
    (408, "", {}),
    enveloped({}, 10000, "Server Timeout"),
    enveloped({}, 10016, "server error"),
    requests.ConnectTimeout("no answer"),
    requests.ReadTimeout("no answer"),
    requests.ConnectionError("refused"),
    requests.exceptions.ChunkedEncodingError("cut"),
]


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_a_passing_failure_is_repeated(failure: Reply | Exception) -> None:
    """Once is enough where the second answer is good; a jittered moment lies between."""
    exchange = Exchange(in_turn(failure, TIME))
    assert exchange.history.server_time_ms() == NOW_MS
    assert len(exchange.queries) == 2
    (wait_s,) = exchange.time.waits
    assert BACKOFF_S / 2 <= wait_s <= BACKOFF_S


@pytest.mark.parametrize("failure", PASSING, ids=str)
def test_a_failure_that_stays_is_given_up(failure: Reply | Exception) -> None:
    """A few times, with growing waits, a few seconds in all; nothing is slept after the last."""
    exchange = Exchange(in_turn(failure))
    with pytest.raises(HistoryError, match="/v5/market/time"):
        exchange.history.server_time_ms()
    assert len(exchange.queries) == ATTEMPTS
    assert len(exchange.time.waits) == ATTEMPTS - 1
    for number, wait_s in enumerate(exchange.time.waits):
        assert 0.5 <= wait_s / (BACKOFF_S * 2**number) <= 1


@pytest.mark.parametrize("time_ns", [0, -1, NOW_MS, NOW_MS * 1000, f"-{NOW_MS}000000", "1" * 40])
def test_a_time_of_another_age_is_none(time_ns: int | str) -> None:
    """Zero, other units, forty digits: an error, not a time that everything would be judged by."""
    exchange = Exchange(in_turn(enveloped({"timeNano": time_ns})))
    with pytest.raises(HistoryError, match="no time"):
        exchange.history.server_time_ms()


@pytest.mark.parametrize("start", ["1e999999999", "1e-999999999", "9" * 5000, "", None])
def test_a_start_that_no_machine_can_count_costs_its_row(start: str | None) -> None:
    """An integer of a thousand million digits is never made of it."""
    odd = [start, *row(NOW_MS)[1:]]
    exchange = Exchange(in_turn(klines(odd, row(NOW_MS))))  # type: ignore[arg-type]
    assert len(exchange.history.candles("BTCUSDT", 60_000, NOW_MS, NOW_MS + 1)) == 1


@pytest.mark.parametrize("reset", ["9" * 5000, "9" * 400, "-1", "1e3", "soon", ""])
def test_a_reset_time_that_is_none_is_a_short_wait(reset: str) -> None:
    """Whatever stands in the header, the limit is kept and the question asked again."""
    exchange = Exchange(in_turn(enveloped({}, 10006, "x", **{"X-Bapi-Limit-Reset-Timestamp": reset}), TIME))
    assert exchange.history.server_time_ms() == NOW_MS
    assert sum(exchange.time.waits) == pytest.approx(REFUSED_WAIT_S)


@pytest.mark.parametrize("numbers", BAD_CANDLES)
def test_an_impossible_candle_is_requested_again(numbers: tuple[str, ...]) -> None:
    """It is asked for again, and never handed on."""
    exchange = Exchange(in_turn(klines(row(NOW_MS, numbers)), klines(row(NOW_MS))))
    assert len(exchange.history.candles("BTCUSDT", 60_000, NOW_MS, NOW_MS + 1)) == 1
    assert len(exchange.queries) == 2


@pytest.mark.parametrize(
    "failure", [(404, "", {}), (400, "", {}), enveloped({}, 10001, "x"), enveloped({}, 10017, "x")]
)
def test_a_refusal_is_not_repeated(failure: Reply) -> None:
    """The same question gets the same answer."""
    exchange = Exchange(in_turn(failure, TIME))
    with pytest.raises(HistoryError) as raised:
        exchange.history.server_time_ms()
    assert raised.value.is_final
    assert len(exchange.queries) == 1
    assert exchange.time.waits == []


@pytest.mark.parametrize("failure", [(403, "403, access too frequent", {}), enveloped({}, 10018, "ip limit")])
def test_a_ban_stops_all_requests_for_ten_minutes(failure: Reply) -> None:
    """No request leaves meanwhile, whatever it is for; then it works again."""
    exchange = Exchange(in_turn(failure, TIME))
    with pytest.raises(HistoryError, match=r"403|10018"):
        exchange.history.server_time_ms()
    exchange.time.now_s += 599
    with pytest.raises(HistoryError, match="breaker is open for 1 s"):
        exchange.history.recent_trades("BTCUSDT")
    assert len(exchange.queries) == 1
    exchange.time.now_s += 1
    assert exchange.history.server_time_ms() == NOW_MS


@pytest.mark.parametrize(
    ("reset_ms", "expected_s"),
    [
        (NOW_MS + 4_000, 4.0),
        (NOW_MS - 2_000, 1.0),
        (None, 1.0),
        (NOW_MS + 10**9, 30.0),
        pytest.param(10**400, 1.0, id="absurd"),
    ],
)
def test_a_rate_limit_is_waited_out(reset_ms: int | None, expected_s: float) -> None:
    """Until the time the exchange gave, or a second where it lies behind us or is missing; never for ever."""
    headers = {} if reset_ms is None else {"X-Bapi-Limit-Reset-Timestamp": str(reset_ms)}
    exchange = Exchange(in_turn(enveloped({}, 10006, "Too many visits!", **headers), TIME))
    assert exchange.history.server_time_ms() == NOW_MS
    assert sum(exchange.time.waits) == pytest.approx(expected_s)
    assert exchange.limiter.pauses == 1


def test_a_rate_limit_that_stays_is_given_up() -> None:
    """After as many attempts as any other failure."""
    exchange = Exchange(in_turn(enveloped({}, 10006, "Too many visits!")))
    with pytest.raises(HistoryError, match="10006: Too many visits!"):
        exchange.history.server_time_ms()
    assert len(exchange.queries) == ATTEMPTS


@pytest.mark.parametrize("failure", [(500, "", {}), enveloped({}, 10006, "Too many visits!")])
def test_stopping_ends_every_wait(failure: Reply) -> None:
    """The wait that it falls into is the last, and no request follows."""
    exchange = Exchange(in_turn(failure))

    def stop() -> None:
        exchange.time.stopped = True

    exchange.time.while_waiting = stop
    with pytest.raises(HistoryError):
        exchange.history.server_time_ms()
    assert len(exchange.queries) == len(exchange.time.waits) == 1


def test_a_stopped_history_asks_nothing() -> None:
    """Stopped before it began."""
    exchange = Exchange(in_turn(TIME))
    exchange.time.stopped = True
    with pytest.raises(HistoryError, match="stopped"):
        exchange.history.server_time_ms()
    assert exchange.queries == []


def test_a_page_that_fails_fails_the_range() -> None:
    """Half a range would look like a whole one with a hole."""
    page = klines(*(row(NOW_MS - n * 60_000) for n in range(1_000)))
    exchange = Exchange(in_turn(TIME, page, (404, "", {})))
    with pytest.raises(HistoryError, match="404"):
        exchange.history.candles("BTCUSDT", 60_000, NOW_MS - 1_500 * 60_000, NOW_MS)
