"""STREAMS entries, checked before any thread starts."""

from collections.abc import Iterator
from typing import Any

import pytest

from streams.registry import read_entries


def subscribe(symbol: str, callback: Any, *, depth: int = 50) -> None:
    """Stands for subscribe_trades."""


def subscribe_generator(symbol: str) -> Iterator[str]:
    """A generator: does nothing until it is iterated."""
    yield symbol


async def subscribe_async(symbol: str) -> None:
    """A mistake people make."""


def entry(**change: object) -> dict[str, object]:
    """A good entry with some keys changed."""
    return {"name": "T", "func": subscribe, "args": ("ETHUSDT", print), **change}


def complaint(wrong: object) -> str:
    good, bad = read_entries([wrong])
    assert good == []
    ((found, text),) = bad
    assert found is wrong
    return text


def test_the_readmes_entry_is_good() -> None:
    """The snippet that the project promises."""
    source = entry()
    (good,), bad = read_entries([source])
    assert bad == []
    assert (good.name, good.func, good.args, good.kwargs) == ("T", subscribe, ("ETHUSDT", print), {})
    assert good.source is source


def test_kwargs_are_allowed() -> None:
    """A depth by its name."""
    (good,), bad = read_entries([entry(kwargs={"depth": 200})])
    assert (good.kwargs, bad) == ({"depth": 200}, [])


@pytest.mark.parametrize("key", ["name", "func", "args"])
def test_a_missing_key_is_named_with_what_to_add(key: str) -> None:
    """The text can be acted on without reading the source."""
    wrong = entry()
    del wrong[key]
    assert f'"{key}" is missing, add "{key}": ' in complaint(wrong)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (["a", "list"], "must be a dict"),
        (entry(name=""), "not empty"),
        (entry(name=7), "must be a text"),
        (entry(func="subscribe"), "must be a function"),
        (entry(func=subscribe_async, args=("A",)), "is async"),
        (entry(func=subscribe_generator, args=("A",)), "or a generator"),
        (entry(args="ETHUSDT"), "('ETHUSDT',)"),
        (entry(args=("ETHUSDT",)), "do not fit subscribe"),
        (entry(args=("ETHUSDT", print, 1)), "do not fit subscribe"),
        (entry(kwargs={"deph": 1}), "do not fit subscribe"),
        (entry(kwargs=["depth"]), "must be a dict of names"),
        (entry(arg=()), "unknown key 'arg'"),
    ],
)
def test_a_wrong_entry_is_named_by_place_name_and_remedy(wrong: object, text: str) -> None:
    """Each kind of mistake has its own words."""
    found = complaint(wrong)
    assert found.startswith("STREAMS[0]")
    assert text in found


def test_the_second_of_two_equal_names_is_wrong() -> None:
    """The first runs; a stream is known by its name."""
    good, bad = read_entries([entry(), entry()])
    assert len(good) == 1
    assert "another entry has this name" in bad[0][1]
    assert bad[0][1].startswith("STREAMS[1] 'T'")


def test_all_complaints_come_at_once() -> None:
    """One start, all errors."""
    good, bad = read_entries([entry(), {}, entry(name="U", func=None), entry(name="V")])
    assert [item.name for item in good] == ["T", "V"]
    assert len(bad) == 2
    assert bad[0][1].count("is missing") == 3


def test_a_builtin_without_a_signature_passes() -> None:
    """The call itself raises where it does not fit."""
    good, bad = read_entries([entry(func=dict.fromkeys), entry(name="U", func=min, args=(1, 2))])
    assert [item.name for item in good] + [text for _, text in bad] == ["T", "U"]


def test_an_entry_that_was_changed_is_read_anew() -> None:
    """The list is read again and again, and a user may mend it in place, whatever was remembered of the call."""
    args: list[object] = ["ETHUSDT"]
    changing = entry(args=args)
    found = []
    for argument in (print, "one too many"):
        found.append(len(read_entries([changing])[1]))
        args.append(argument)
    found.append(len(read_entries([changing])[1]))
    assert found == [1, 0, 1]


def test_a_callable_that_cannot_be_hashed_is_as_good_as_any() -> None:
    """A dataclass with __call__, for example."""

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, symbol: str) -> None: ...

    good, bad = read_entries([entry(func=Unhashable(), args=("A",)), entry(name="U", func=Unhashable(), args=())])
    assert [item.name for item in good] == ["T"]
    assert "do not fit" in bad[0][1]
