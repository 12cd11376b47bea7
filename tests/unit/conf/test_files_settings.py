"""The settings of files, recordings and the console."""

import pytest

from conf.settings import SettingsError
from tests.support.settings import settings_of


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("FILE_CONSUMER_MAX_GB", "-1", "gigabytes; 0 is without limit"),
        ("FILE_CONSUMER_COMPRESSION", "zip", "none or gzip"),
        ("PARQUET_RETENTION_HOURS", "-1", "hours; 0 is for ever"),
        ("PARQUET_FLUSH_INTERVAL", "0", "seconds, above 0"),
        ("RAW_RECORD_KINDS", "klines", "any of trades, orderbook"),
        ("CONSOLE_LIVE", "yes", "auto, always or never"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(name, value, allowed):
    """An error line is enough to mend it."""
    with pytest.raises(SettingsError, match=rf"{name}='{value}'.*{allowed}"):
        settings_of(**{name: value})


def test_recorded_kinds_are_none_unless_asked_for():
    """RAW_RECORD_KINDS alone records nothing."""
    assert settings_of(RAW_RECORD_KINDS="trades").recorded_kinds == ()
    assert settings_of(RAW_RECORD="true", RAW_RECORD_KINDS="trades").recorded_kinds == ("trades",)


@pytest.mark.parametrize(
    ("name", "switch"),
    [("PARQUET_PATH", {"ENABLED_CONSUMERS": "parquet"}), ("RAW_RECORD_PATH", {"RAW_RECORD": "true"})],
)
def test_a_folder_that_cannot_be_is_refused_where_it_is_used(name, switch, tmp_path):
    """Before a run, not at its first full hour."""
    (tmp_path / "file").write_text("")
    assert settings_of(**{name: tmp_path / "file"})
    with pytest.raises(SettingsError, match=rf"{name}=.*not writable"):
        settings_of(**{name: tmp_path / "file"}, **switch)
