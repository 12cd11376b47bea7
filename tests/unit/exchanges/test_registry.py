"""The exchanges by name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import exchanges
from exchanges import registry
from exchanges.registry import VENUES, Venues

TOY = """
import dataclasses
from exchanges.bybit.venue import VENUE as BYBIT
VENUE = dataclasses.replace(BYBIT, name="toy")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with exchanges of the test's own beside those here."""
    monkeypatch.setattr(exchanges, "__path__", [*exchanges.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "files", lambda _name: tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith(("exchanges.toy", "exchanges.broken"))]:
        del sys.modules[name]


def add(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "venue.py").write_text(text)


def test_every_venue_has_the_name_of_its_folder() -> None:
    """EXCHANGE, channels and files are named by it."""
    assert {name: venue.name for name, venue in VENUES.items()} == {name: name for name in VENUES}


def test_a_folder_is_an_exchange_and_a_mistake_in_one_costs_no_other(folder: Path) -> None:
    """No list names it; the broken one raises when it is asked for."""
    add(folder, "toy", TOY)
    add(folder, "broken", "import nothing_of_this_name")
    (folder / "no_venue").mkdir()
    venues = Venues()
    assert list(venues) == ["broken", "toy"]
    assert len(venues) == 2
    assert venues["toy"].name == "toy"
    with pytest.raises(ImportError):
        venues["broken"]


@pytest.mark.parametrize("name", ["no_venue", "simulated", "../okx", ""])
def test_what_is_no_exchange_is_a_key_error(name: str) -> None:
    """As of any mapping."""
    with pytest.raises(KeyError):
        VENUES[name]
