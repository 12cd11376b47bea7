"""STREAMS entries: what the user's list holds, checked. Pure.

Every complaint names the entry and says what to write instead.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CALLS_REMEMBERED = 256  # functions and numbers of arguments: the list is read several times a second, 20 us an entry
_KEYS = {"name", "func", "args", "kwargs"}


@dataclass(frozen=True)
class StreamEntry:
    """A checked entry. `source` is the user's own dict: the same object means the same stream."""

    name: str
    func: Callable[..., object]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    source: Mapping[str, Any]


def read_entries(entries: Sequence[object]) -> tuple[list[StreamEntry], list[tuple[object, str]]]:
    """Sort a STREAMS list into good entries and (entry, complaint) pairs; the first of two equal names is good."""
    good: list[StreamEntry] = []
    bad: list[tuple[object, str]] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        complaints = _complaints(entry, names)
        if complaints:
            bad.append((entry, f"{_label(index, entry)}: {'; '.join(complaints)}"))
        elif isinstance(entry, Mapping):
            names.add(entry["name"])
            good.append(_entry(entry))
    return good, bad


def is_deferred(function: object) -> bool:
    """Say whether a call of a function only makes something that somebody else has to run."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_kind(function) for is_kind in kinds)


def _entry(entry: Mapping[str, Any]) -> StreamEntry:
    return StreamEntry(
        entry["name"], entry["func"], tuple(entry.get("args", ())), dict(entry.get("kwargs") or {}), entry
    )


def _label(index: int, entry: object) -> str:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    return f"STREAMS[{index}] {name!r}" if name else f"STREAMS[{index}]"


def _complaints(entry: object, names: set[str]) -> list[str]:
    if not isinstance(entry, Mapping):
        return [f'is {type(entry).__name__}, must be a dict {{"name": ..., "func": ..., "args": (...)}}']
    found = [_missing(key) for key in ("name", "func", "args") if key not in entry]
    found += [f"unknown key {key!r}, allowed are name, func, args, kwargs" for key in entry if key not in _KEYS]
    found += _name_complaints(entry, names)
    found += _call_complaints(entry)
    return found


def _missing(key: str) -> str:
    remedy = {"name": '"Trades_ETHUSDT"', "func": "subscribe_trades", "args": '("ETHUSDT", handle_trades)'}[key]
    return f'"{key}" is missing, add "{key}": {remedy}'


def _name_complaints(entry: Mapping[str, Any], names: set[str]) -> list[str]:
    if "name" not in entry:
        return []
    name = entry["name"]
    if not isinstance(name, str) or not name.strip():
        return [f'"name" is {name!r}, must be a text that is not empty']
    return ["another entry has this name, give each its own"] if name in names else []


def _call_complaints(entry: Mapping[str, Any]) -> list[str]:
    found = []
    func, args, kwargs = entry.get("func"), entry.get("args", ()), entry.get("kwargs") or {}
    if "func" in entry and not callable(func):
        found.append(f'"func" is {func!r}, must be a function (without brackets behind its name)')
    if not isinstance(args, (tuple, list)):
        found.append(f'"args" is {args!r}, must be a tuple; one argument alone needs a comma: ({args!r},)')
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        found.append(f'"kwargs" is {kwargs!r}, must be a dict of names and values')
    if not found and callable(func):
        found += _binding_complaints(func, args, kwargs)
    return found


def _binding_complaints(func: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[str]:
    """Whether a call fits depends on how many arguments there are, and on their names, but not on their values."""
    try:
        return list(_binding_problems(func, len(args), tuple(kwargs)))
    except TypeError:  # a callable that cannot be hashed
        return list(_binding_problems.__wrapped__(func, len(args), tuple(kwargs)))


@functools.lru_cache(maxsize=CALLS_REMEMBERED)
def _binding_problems(func: Callable[..., object], count: int, names: tuple[str, ...]) -> tuple[str, ...]:
    name = getattr(func, "__name__", repr(func))
    if is_deferred(func):
        return (f"{name} is async or a generator, a stream needs a plain function that blocks",)
    try:
        signature = inspect.signature(func)
    except (TypeError, ValueError):
        return ()  # a builtin that does not tell its parameters: the call itself will say
    try:
        signature.bind(*range(count), **dict.fromkeys(names))
    except TypeError as error:
        return (f'"args" do not fit {name}{signature}: {error}',)
    return ()
