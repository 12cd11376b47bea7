"""Log lines for a person at a terminal."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from conf.readable import ReadableRenderer, without_sentence
from model.clock import iso_ms

NOW = datetime.now(UTC)


@pytest.fixture
def render():
    renderer = ReadableRenderer(colors=False)

    def line(event="x", level="info", at=NOW, **fields):
        timestamp = iso_ms(at.timestamp() * 1000)
        entry = {"event": event, "timestamp": timestamp, "level": level, "logger": "a.b", "thread": "main", **fields}
        return renderer(None, level, entry)

    return line


def test_a_line_has_the_time_of_this_machine_and_an_event_with_its_fields(render):
    """No level, no logger and no thread where all is well."""
    assert render("redis_up", host="a", symbols=["A", "B"], counts={"A": 1}, error=None, held_back=0) == (
        f"{NOW.astimezone():%H:%M:%S}  redis_up host=a symbols=A,B counts=A:1"
    )


def test_a_sentence_stands_alone(render):
    """Its fields say the same."""
    assert render("x", sentence="All is well.", count=3).endswith("  All is well.")


def test_the_level_is_named_where_it_is_not_info(render):
    """And what to do stands last."""
    assert render("bad", "warning", error="it broke", remedy="mend it").endswith(
        "  warning  bad error='it broke' -> mend it"
    )


def test_a_new_day_begins_with_its_date(render):
    """Once: a log of days can be read."""
    render()
    tomorrow = NOW + timedelta(days=1)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", render(at=tomorrow))
    assert re.match(r"\d\d:\d\d:\d\d  ", render(at=tomorrow))


def test_a_traceback_stands_below(render):
    """As Python writes it."""
    assert render("x", exception="Traceback:\n  line").endswith("x\nTraceback:\n  line")


@pytest.mark.parametrize("fields", [{"error": "a\x1b[2Jb\rc"}, {"sentence": "a\x1b[2Jb\rc"}, {"remedy": "a\x1b[2J"}])
def test_what_an_exchange_sends_commands_no_terminal(render, fields):
    """An answer with escapes in it is text."""
    line = render(**fields)
    assert not {"\x1b", "\r"} & set(line)


def test_colours_are_of_the_time_and_the_level():
    """Red where it is serious."""
    line = ReadableRenderer(colors=True)(None, "error", {"event": "x", "level": "error", "timestamp": iso_ms(0)})
    assert "\x1b[31merror\x1b[0m" in line


def test_json_has_no_sentence():
    """Its fields say it."""
    assert without_sentence(None, "info", {"event": "x", "sentence": "y"}) == {"event": "x"}
