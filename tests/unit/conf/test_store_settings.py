"""The settings of the candle store."""

import pytest

from conf.settings import load_settings


@pytest.mark.parametrize(
    ("settings", "warned"),
    [({}, False), ({"KLINE_STORE": "true"}, True), ({"KLINE_STORE": "false"}, False)],
)
def test_a_store_that_is_asked_for_and_gets_no_klines_is_warned_of(settings, warned):
    """By default there is one, and where klines are off none, without a word."""
    loaded = load_settings({"ENABLE_KLINES_STREAM": "false", **settings}, None)
    assert ("KLINE_STORE" in {each.name for each in loaded.warnings}) is warned


@pytest.mark.parametrize("given", [{}, {"KLINE_STORE": "false"}])
def test_its_folder_is_written_where_it_is_on(given, tmp_path):
    """doctor and alerts look at the disk; one that cannot be written stops no collector, for nothing else needs it."""
    (tmp_path / "file").write_text("")
    loaded = load_settings({"KLINE_STORE_PATH": str(tmp_path / "file" / "store"), **given}, None)
    assert ("KLINE_STORE_PATH" in loaded.written_folders) is (not given)
