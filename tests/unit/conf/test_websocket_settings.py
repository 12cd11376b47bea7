"""The settings of the WSS output, beyond what holds for all."""

from pathlib import Path

import pytest

from conf.settings import SettingsError, load_settings

WEBSOCKET = {"ENABLED_CONSUMERS": "websocket", "WSS_AUTH_USER": "me", "WSS_AUTH_KEY": "hunter2"}


def warned(**environ):
    return [warning.name for warning in load_settings(WEBSOCKET | environ, None).warnings]


def test_plain_ws_on_a_public_address_is_warned_of():
    """The key would be read on the way; on this machine alone nobody can."""
    assert warned(WEBSOCKET_HOST="0.0.0.0") == ["WEBSOCKET_HOST"]
    assert (
        warned(WEBSOCKET_HOST="127.0.0.1") == warned(WEBSOCKET_HOST="localhost") == warned(WEBSOCKET_HOST="::1") == []
    )


def test_a_page_for_other_machines_is_warned_of_where_nobody_may_open_it_or_the_key_can_be_read(tmp_path):
    """Without the output of envelopes no login is required, and none is made up."""
    page = {"ENABLED_CONSUMERS": "redis", "WEBSOCKET_HOST": "0.0.0.0"}
    tls = {"WEBSOCKET_TLS_CERT": str(tmp_path / "cert.pem"), "WEBSOCKET_TLS_KEY": str(tmp_path / "key.pem")}
    for path in tls.values():
        Path(path).touch()
    without = load_settings(page, None).warnings
    assert [(warning.name, "WSS_AUTH_USER" in warning.advice) for warning in without] == [("WEBSOCKET_HOST", True)]
    assert warned(**page) == ["WEBSOCKET_HOST"]
    assert warned(**page, **tls) == []
    assert load_settings(page | {"ENABLE_WEB": "false"}, None).warnings == ()


def test_open_paths_of_the_exchange_are_warned_of_where_others_reach_them(tmp_path):
    """Without a login only an address of one's own is safe."""
    certificate = {"WEBSOCKET_TLS_CERT": tmp_path / "cert.pem", "WEBSOCKET_TLS_KEY": tmp_path / "key.pem"}
    for path in certificate.values():
        path.touch()
    certificate = {name: str(path) for name, path in certificate.items()}
    assert warned(WEBSOCKET_HOST="0.0.0.0", WEBSOCKET_EXCHANGE_PATHS="open", **certificate) == [
        "WEBSOCKET_EXCHANGE_PATHS"
    ]
    assert warned(WEBSOCKET_HOST="0.0.0.0", WEBSOCKET_EXCHANGE_PATHS="auth", **certificate) == []
    assert warned(WEBSOCKET_EXCHANGE_PATHS="open") == []


def test_paths_of_the_exchange_without_the_output_are_warned_of():
    """A setting that changes nothing is a misunderstanding."""
    assert "WEBSOCKET_EXCHANGE_PATHS" in warned(ENABLED_CONSUMERS="redis", WEBSOCKET_EXCHANGE_PATHS="auth")


def test_the_name_of_when_only_bybit_had_such_paths_still_works():
    """And what is said of it names it as it was written."""
    settings = load_settings({"ENABLED_CONSUMERS": "redis", "WEBSOCKET_BYBIT_PATHS": "auth"}, None)
    assert settings.websocket_exchange_paths == "auth"
    assert "WEBSOCKET_BYBIT_PATHS" in [warning.name for warning in settings.warnings]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("WEBSOCKET_COMPRESSION", "zip", "deflate, gzip or none"),
        ("WEBSOCKET_EXCHANGE_PATHS", "on", "off, auth or open"),
    ],
)
def test_what_is_allowed_is_in_the_error(name, value, allowed):
    """The line names the setting, the value and the choice."""
    with pytest.raises(SettingsError, match=f"{name}='{value}': allowed: {allowed}"):
        load_settings({name: value}, None)
