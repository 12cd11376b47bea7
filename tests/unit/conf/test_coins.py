"""The file of coins: what it may hold, and what becomes of one that is wrong, half saved or gone."""

import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from conf.coins import CoinsError, CoinsFile, read_coins

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "text",
    [
        '{"coins": ["BTCUSDT", "ETHUSDT"]}',
        '["BTCUSDT", "ETHUSDT"]',
        '{"symbols": ["btcusdt", " ETHUSDT ", "BTCUSDT"]}',
        '{"coins": {"BTCUSDT": true, "SOLUSDT": false, "ETHUSDT": true}, "note": 1}',
    ],
)
def test_every_shape_of_the_list_is_read(text):
    """An object, a bare list, switches; capitals, each once, in order."""
    assert read_coins(text) == ("BTCUSDT", "ETHUSDT")


def test_names_need_not_be_symbols_of_ascii():
    """A few coins have Chinese names; dated contracts have a dash."""
    assert read_coins('["币安人生USDT", "BTC-26DEC25", "1000pepe"]') == ("币安人生USDT", "BTC-26DEC25", "1000PEPE")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"coins": [\n"BTC"\n"ETH"]}', "line 3, column 1: no valid JSON"),
        ("", "line 1"),
        ("[" * 100_000, "no valid JSON"),
        ('{"coin": ["BTC"]}', '"coins" is missing'),
        ('{"coins": "BTC"}', "must be a list"),
        ('{"coins": ["BTC", 5]}', "must be a list"),
        (f'{{"coins": [{"9" * 5000}]}}', "a number is too long"),
        ('{"coins": {"BTC": "yes"}}', "must be a list"),
        ("3", "must be a list"),
        ('["BTC",\n "E T H"]', "line 2: 'E T H' is no symbol"),
        ('{"coins": []}', "empty"),
        ('{"coins": {"BTC": false}}', "empty"),
    ],
)
def test_a_mistake_is_named_with_its_line(text, reason):
    """For the person who has just saved it."""
    with pytest.raises(CoinsError) as caught:
        read_coins(text)
    assert reason in str(caught.value)


def test_the_example_is_good():
    """Copied to conf/coins.json, it is followed."""
    assert len(read_coins((ROOT / "conf/coins.example.json").read_text())) == 5


@pytest.fixture
def path(tmp_path):
    return tmp_path / "coins.json"


def save(path, *names):
    path.write_text(json.dumps(list(names)))


def looked(file):
    """The names that changed, and the events that were logged."""
    with capture_logs() as logs:
        return file.changed(), [entry["event"] for entry in logs]


def test_a_file_that_is_not_there_is_no_list(path):
    """SYMBOLS are collected then; nothing is logged."""
    file = CoinsFile(path)
    assert file.load() == ()
    assert looked(file) == (None, [])


def test_a_wrong_file_at_the_start_is_an_error_that_names_it(path):
    """There is no good list to keep."""
    path.write_text("{")
    with pytest.raises(CoinsError, match=r"COINS_FILE='.*coins.json': line 1"):
        CoinsFile(path).load()


def test_a_folder_in_its_place_is_an_error_that_names_it(path):
    """Found at the start, like every wrong setting."""
    path.mkdir()
    with pytest.raises(CoinsError, match="COINS_FILE"):
        CoinsFile(path).load()


def test_what_is_no_file_is_logged_once_and_what_takes_its_place_is_read(path):
    """A FIFO: its open() would wait for ever."""
    save(path, "A")
    file = CoinsFile(path)
    file.load()
    path.unlink()
    os.mkfifo(path)
    with capture_logs() as logs:
        assert [file.changed() for _ in range(5)] == [None] * 5
    assert [line["event"] for line in logs] == ["coins_file_wrong"]
    path.unlink()
    save(path, "B")
    assert file.changed() == ("B",)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CoinsError, match="no regular file but a FIFO"):
        CoinsFile(path).load()


def test_a_file_that_cannot_be_read_is_logged_once(path, monkeypatch):
    """Looked at again and again: it may be half way through a save."""
    save(path, "A")
    file = CoinsFile(path)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(os, "open", refused)
        assert [file.changed() for _ in range(5)] == [None] * 5
    assert [line["event"] for line in logs] == ["coins_file_unreadable"]
    assert file.changed() == ("A",)


def test_every_way_to_save_is_seen(path):
    """Written over, renamed onto, of the same size in the same nanosecond, removed and made anew."""
    save(path, "BTC")
    file = CoinsFile(path)
    assert file.load() == ("BTC",)
    save(path, "BTC", "ETH")
    assert looked(file) == (("BTC", "ETH"), [])
    aside = path.with_suffix(".tmp")
    save(aside, "BTC", "SOL")
    stamp = path.stat().st_mtime_ns
    os.utime(aside, ns=(stamp, stamp))
    aside.replace(path)
    assert looked(file) == (("BTC", "SOL"), [])
    path.unlink()
    assert looked(file) == (None, ["coins_file_gone"])
    assert looked(file) == (None, [])
    save(path, "XRP")
    assert looked(file) == (("XRP",), [])


def test_the_same_list_saved_again_is_no_change(path):
    """A touch, or a comma moved."""
    save(path, "BTC")
    file = CoinsFile(path)
    file.load()
    path.write_text('[ "btc" ]')
    assert looked(file) == (None, [])


def test_a_wrong_file_keeps_the_last_good_list_and_is_logged_once(path):
    """Until it is saved anew."""
    save(path, "BTC")
    file = CoinsFile(path)
    file.load()
    path.write_text('["BTC",')
    assert looked(file) == (None, ["coins_file_wrong"])
    assert looked(file) == (None, [])
    assert file.names == ("BTC",)
    path.write_bytes(b'["\xff"]')
    assert looked(file) == (None, ["coins_file_wrong"])
    save(path, "BTC", "ETH")
    assert looked(file) == (("BTC", "ETH"), [])


def test_a_huge_file_is_not_read(path):
    """Somebody's log, by mistake."""
    save(path, "BTC")
    file = CoinsFile(path)
    file.load()
    path.write_text('"' + "x" * 2_000_000)
    assert looked(file) == (None, ["coins_file_wrong"])


def test_the_first_place_that_has_a_file_counts(tmp_path):
    """The working directory's, else the one beside main.py; where a nearer one comes it takes over."""
    near, far = tmp_path / "near.json", tmp_path / "far.json"
    far.write_text('["BTC"]')
    file = CoinsFile(near, far)
    with capture_logs() as logs:
        assert file.load() == file.load() == ("BTC",)
    assert [(entry["event"], entry["path"]) for entry in logs] == [("coins_file_read", str(far))]
    near.write_text('["ETH"]')
    assert file.changed() == ("ETH",)
    near.unlink()
    assert file.changed() == ("BTC",)
    assert CoinsFile().load() == ()
