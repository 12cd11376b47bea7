"""Settings of alerts: lists of URLs that are secrets, and what has no effect."""

import pytest

from conf.settings import SettingsError, load_settings
from conf.values import split_alert_urls

HOOK = "https://hooks.example/s3cret"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("tgram://a/b", ["tgram://a/b"]),
        ("tgram://a/b, discord://c/d json://e\tslack://f,", ["tgram://a/b", "discord://c/d", "json://e", "slack://f"]),
        ("mailto://u:p@h?to=a@x,b@y,json://e", ["mailto://u:p@h?to=a@x,b@y", "json://e"]),
        ("", []),
    ],
)
def test_urls_are_split_at_commas_and_spaces_before_the_next_one(text, urls):
    assert list(split_alert_urls(text)) == urls


@pytest.mark.parametrize(
    "wrong",
    [
        {"ALERT_URLS": "s3cret"},
        {"ALERT_URLS": "json://host s3cret"},
        {"ALERT_URLS": ","},
        {"ALERT_WEBHOOK": "s3cret"},
        {"ALERT_WEBHOOK": "ftp://s3cret"},
        {"ALERT_HEARTBEAT_URL": "tgram://s3cret/a"},
    ],
)
def test_a_wrong_address_is_an_error_that_does_not_show_it(wrong):
    (name,) = wrong
    with pytest.raises(SettingsError, match=rf"^{name}=\*\*\*: ") as raised:
        load_settings(wrong, None)
    assert "s3cret" not in str(raised.value)


def test_addresses_are_shown_nowhere():
    settings = load_settings({"ALERT_URLS": f"json://{HOOK}", "ALERT_WEBHOOK": HOOK, "ALERT_HEARTBEAT_URL": HOOK}, None)
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    assert settings.has_alerts


def test_one_alert_an_hour_is_too_few_for_its_end():
    with pytest.raises(SettingsError, match="a whole number from 2"):
        load_settings({"ALERT_MAX_PER_HOUR": "1"}, None)


def test_listings_that_nobody_is_told_of_are_suspicious():
    for settings, advice in (
        ({}, ["has no effect: set ALERT_URLS or ALERT_WEBHOOK"]),
        ({"ALERT_WEBHOOK": HOOK}, []),
        ({"ALERT_WEBHOOK": HOOK, "WS_URL": "ws://127.0.0.1:9"}, ["has no effect: what the exchange lists is not read"]),
    ):
        loaded = load_settings({"ALERT_LISTINGS": "true", **settings}, None)
        assert [each.advice for each in loaded.warnings if each.name == "ALERT_LISTINGS"] == advice


def test_a_relay_says_that_it_tells_nobody():
    settings = load_settings({"ALERT_WEBHOOK": HOOK, "ENABLED_CONSUMERS": "redis,console"}, None).relayed()
    assert [each.name for each in settings.warnings if "relay" in each.advice] == ["ALERT_URLS"]
