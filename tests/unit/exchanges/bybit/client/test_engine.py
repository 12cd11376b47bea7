"""One request: repeated where that is safe, else the right error."""

import pytest

from exchanges.bybit.client import errors
from exchanges.bybit.client.engine import CATALOGUE, RESYNCS, Engine
from exchanges.bybit.client.errors import BybitError
from exchanges.retries import ATTEMPTS
from exchanges.transport import Reply
from tests.unit.exchanges.bybit.client.steps_run import NOW_MS, Runner, answer, engine, in_turn, silence, text

GET, POST = "get_wallet_balance", "set_leverage"


def asked(api: Engine, name: str, *replies: Reply) -> tuple[Runner, BybitError | None]:
    """What was asked, and the error it ended in."""
    runner = Runner(in_turn(*replies))
    try:
        runner.run(api.ask(name, {"accountType": "UNIFIED"}))
    except BybitError as error:
        return runner, error
    return runner, None


FAILURES = [
    silence(),
    answer(status=500),
    text("<html>bad gateway</html>", 502),
    text("<html>hello</html>"),
    text('{"retCode":0,"result":{"li'),
    text("[]"),
    text('{"result":{}}'),
    text('{"retCode":null,"result":{}}'),
    text('{"retCode":"0","result":{}}'),
    text('{"retCode":false,"result":{}}'),
    text('{"retCode":0.0,"result":{}}'),
    text('[{"retCode":0}]'),
    answer(code=10016),
    answer(code=10000),
    answer(status=429),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_read_is_repeated(failure: Reply) -> None:
    """Network, server, HTML, cut off: the next answer counts."""
    runner, error = asked(engine(), GET, failure, failure, answer())
    assert error is None
    assert len(runner.paths) == 3
    assert len([wait for wait in runner.waits if wait > 0.1]) == 2


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_change_is_not_repeated(failure: Reply) -> None:
    """The exchange may have done it: the error is marked so."""
    runner, error = asked(engine(), POST, failure, answer())
    assert error is not None
    assert (error.may_be_done, error.is_retry_safe, len(runner.paths)) == (True, False, 1)


@pytest.mark.parametrize(
    "failure",
    [answer(code=10006, status=200), answer(code=10002), silence(was_sent=False)],
    ids=["10006", "10002", "no"],
)
def test_what_was_not_done_is_repeated(failure: Reply) -> None:
    """Refused before it was carried out, or never there: a change too."""
    runner, error = asked(engine(), POST, failure, answer())
    assert error is None
    assert len(runner.paths) == 2


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (answer(code=10001, message="wrong"), errors.RequestError),
        (answer(code=10004), errors.AuthError),
        (answer(code=10005), errors.PermissionDeniedError),
        (answer(code=110007), errors.OrderRejectedError),
        (text("", 401), errors.AuthError),
        (text("", 404), errors.RequestError),
    ],
)
def test_what_is_wrong_stays_wrong(failure: Reply, kind: type[BybitError]) -> None:
    """No repeat, one error with code, endpoint and parameters."""
    runner, error = asked(engine(), GET, failure, answer())
    assert type(error) is kind
    assert len(runner.paths) == 1
    assert error.endpoint == "GET /v5/account/wallet-balance"
    assert error.params == {"accountType": "UNIFIED"}
    assert not error.is_retry_safe


def test_a_read_ends_after_some_attempts() -> None:
    """The last failure is raised; another try does no harm."""
    runner, error = asked(engine(), GET, silence())
    assert isinstance(error, errors.NetworkError)
    assert error.is_retry_safe
    assert len(runner.paths) == ATTEMPTS


def test_an_expired_request_measures_the_time_anew() -> None:
    """10002: some times are asked for, then the call again; not for ever."""
    api = engine()
    runner, error = asked(api, GET, answer(code=10002))
    assert isinstance(error, errors.RequestExpiredError)
    assert len(runner.paths) == RESYNCS + 1
    assert api.time.is_known


def test_the_first_signed_call_measures_the_time() -> None:
    """Its timestamp is the exchange's, whatever the host's clock has."""
    api = engine()
    runner, _ = asked(api, GET, answer())
    assert runner.asked[0].path == "/v5/market/time"
    assert abs(int(runner.asked[-1].headers["X-BAPI-TIMESTAMP"]) - api.time.now_ms()) < 1000


def test_a_ban_silences_the_process() -> None:
    """403 opens the breaker: the next call, of any client of that exchange, does not leave."""
    api = engine()
    _, first = asked(api, GET, text("access too frequent", 403))
    runner, second = asked(api, GET, answer())
    assert isinstance(first, errors.BannedError)
    assert isinstance(second, errors.BannedError)
    assert runner.asked == []
    assert api.limits.address.bans == 1


def test_raising_instead_of_waiting() -> None:
    """limits="raise": no permit is an error that a repeat later heals; a refusal too."""
    api = engine("raise")
    runner = Runner(in_turn(answer()))
    for _ in range(10):
        runner.run(api.ask(POST, {}))
    with pytest.raises(errors.RateLimitError) as caught:
        runner.run(api.ask(POST, {}))
    _, refused = asked(engine("raise"), GET, answer(code=10006))
    assert caught.value.is_retry_safe
    assert len(runner.paths) == 10
    assert isinstance(refused, errors.RateLimitError)


def test_a_signed_call_needs_keys() -> None:
    """Said before anything is sent."""
    runner, error = asked(engine(key=""), GET, answer())
    assert isinstance(error, errors.AuthError)
    assert runner.asked == []


def test_a_closed_client_waits_no_more() -> None:
    """A call that would wait for a turn ends."""
    api = engine()
    api.stop.set()
    _, error = asked(api, GET, silence())
    assert isinstance(error, errors.ClosedError)


def test_unchanged_is_as_good_as_changed() -> None:
    """110043, leverage not modified: what was asked for is so."""
    _, error = asked(engine(), POST, answer(code=110043))
    assert error is None


def test_headers_correct_the_limit() -> None:
    """X-Bapi-Limit of an answer is the bucket's from now on."""
    api = engine()
    runner = Runner(in_turn(answer(X_Bapi_Limit="3", X_Bapi_Limit_Status="2")))
    runner.run(api.ask(POST, {}))
    bucket = api.limits.bucket(CATALOGUE.call(POST, {}), "k")
    assert bucket is not None
    assert bucket.limit == 3


@pytest.mark.parametrize("time_ms", ["null", "true", "0", "1764000000", "1e400", '"1800000000000"', "-5"])
def test_a_time_that_cannot_be_is_not_taken(time_ms: str) -> None:
    """It would sign every later request wrong."""
    api = engine()
    runner = Runner(lambda _asked: text(f'{{"retCode":0,"result":{{}},"time":{time_ms}}}'))
    runner.run(api.ask("get_tickers", {"category": "linear"}))
    assert not api.time.is_known


def test_time_is_taken_from_every_answer() -> None:
    """`time` of the envelope; no request of its own for public calls."""
    api = engine()
    runner = Runner(lambda _asked: answer())
    runner.run(api.ask("get_tickers", {"category": "linear"}))
    assert abs(api.time.now_ms() - NOW_MS) < 200_000_000_000
    assert api.time.is_known
