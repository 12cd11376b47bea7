"""One tree: from Bybit's codes to what a caller can do."""

import pytest

from exchanges.bybit.client import errors
from exchanges.bybit.client.errors import BybitError, class_of_code, class_of_status


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10001, errors.RequestError),
        (10002, errors.RequestExpiredError),
        (10003, errors.AuthError),
        (10004, errors.AuthError),
        (10005, errors.PermissionDeniedError),
        (10006, errors.RateLimitError),
        (10016, errors.ServerError),
        (10018, errors.BannedError),
        (33004, errors.AuthError),
        (110001, errors.OrderNotFoundError),
        (110007, errors.OrderRejectedError),
        (110072, errors.DuplicateOrderError),
        (110079, errors.ServerError),
        (170131, errors.OrderRejectedError),
        (170141, errors.DuplicateOrderError),
        (999999, errors.RequestError),
    ],
)
def test_codes_have_their_class(code: int, kind: type[BybitError]) -> None:
    """docs: error"""
    assert class_of_code(code) is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.RequestError),
        (401, errors.AuthError),
        (403, errors.BannedError),
        (404, errors.RequestError),
        (429, errors.ServerError),
        (502, errors.ServerError),
        (302, errors.BadAnswerError),
    ],
)
def test_statuses_have_their_class(status: int, kind: type[BybitError]) -> None:
    """docs: error"""
    assert class_of_status(status) is kind


def test_an_error_has_all_but_secrets() -> None:
    """Endpoint, code, words and parameters; what looks like a secret is blanked."""
    error = BybitError("no", code=10001, endpoint="GET /p", params={"symbol": "A", "apiKey": "k", "sub_secret": "s"})
    assert str(error) == "GET /p: retCode 10001: no"
    assert error.params == {"symbol": "A", "apiKey": "***", "sub_secret": "***"}


def test_a_page_of_html_does_not_fill_the_log() -> None:
    """A proxy's error page is cut."""
    assert len(str(BybitError("x" * 10_000))) < 400
