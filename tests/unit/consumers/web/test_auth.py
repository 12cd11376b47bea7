"""consumers.web.auth: credentials, without a socket."""

import base64

import pytest

from consumers.web.auth import Credentials
from consumers.web.options import WebOptions
from consumers.web.server import WebServer

RIGHT = Credentials("admin", "s3cret\u20ac")


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_both_must_be_right():
    """Neither the user nor the key alone opens."""
    assert RIGHT.match("admin", "s3cret\u20ac")
    assert not RIGHT.match("admin", "wrong")
    assert not RIGHT.match("wrong", "s3cret\u20ac")
    assert not RIGHT.match("", "")


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic !!!", "Bearer abc", "Basic /////w==", basic("admin"), basic("admin:wrong"), basic("a:b:c")],
)
def test_broken_basic_headers_are_wrong_credentials(header):
    """Whatever a scanner sends is refused, never an exception."""
    assert not RIGHT.match_basic(header)


def test_basic_header_is_read_whatever_its_case():
    """RFC 7617: the scheme has no case; a key may hold a colon."""
    assert RIGHT.match_basic(basic("admin:s3cret\u20ac").replace("Basic", "basic"))
    assert Credentials("a", "b:c").match_basic(basic("a:b:c"))


@pytest.mark.parametrize(
    "message",
    ["", "hello", b"\xff\xfe", "[]", "{}", '{"user":"admin"}', '{"user":1,"key":2}', '{"user":"admin","key":"no"}'],
)
def test_broken_first_messages_are_wrong_credentials(message):
    """The first message is read by type, and refused without an exception."""
    assert not RIGHT.match_message(message)


def test_first_message_opens():
    """The legacy system's first message; further fields do not matter."""
    assert RIGHT.match_message('{"user":"admin","key":"s3cret\u20ac","more":1}')


def test_missing_credentials_are_named():
    """A WSS output without a key would be open to all: it does not start."""
    with pytest.raises(ValueError, match=r"WSS_AUTH_USER.*WSS_AUTH_KEY"):
        WebServer(WebOptions()).validate()


def test_half_a_certificate_is_named(tmp_path):
    """TLS needs both files; one alone must not mean no TLS."""
    options = WebOptions(user="u", key="k", tls_cert=tmp_path / "cert.pem")
    with pytest.raises(ValueError, match="WEBSOCKET_TLS_CERT, WEBSOCKET_TLS_KEY: both"):
        WebServer(options).validate()


def test_the_key_is_never_shown():
    """Options are logged by careless people."""
    assert "s3cret" not in repr(WebOptions(user="u", key="s3cret"))
