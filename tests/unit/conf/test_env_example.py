""".env.example against the settings."""

from itertools import pairwise
from pathlib import Path

from conf.declarations import SETTINGS
from conf.settings import Settings, load_settings

EXAMPLE = Path(__file__).resolve().parents[3] / ".env.example"


def lines():
    return EXAMPLE.read_text(encoding="utf-8").splitlines()


def is_assignment(line):
    return bool(line) and not line.startswith("#")


def assignments():
    return [line.partition("=") for line in lines() if is_assignment(line)]


def test_it_lists_exactly_the_settings_in_their_order():
    """No setting without its line, no line without its setting, none twice."""
    assert [name for name, _, _ in assignments()] == list(SETTINGS)


def test_loading_it_gives_the_defaults():
    """A copied example changes nothing."""
    loaded = load_settings({}, EXAMPLE)
    assert loaded.model_dump() == Settings().model_dump()
    assert loaded.warnings == ()


def test_every_default_is_written_out():
    """An empty value stands only where the default is nothing."""
    empty = {name for name, _, value in assignments() if not value}
    assert empty == {setting.name for setting in SETTINGS.values() if setting.default is None}


def test_each_setting_has_its_comment_line():
    """The line above an assignment explains it."""
    text = lines()
    bare = [line for above, line in pairwise(text) if is_assignment(line) and not above.startswith("# ")]
    assert bare == []
