"""Who holds the GIL: read from a process's memory, and added up by owner."""

import inspect
import os
import sys
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.children import ROOT
from benchmarks.gil import NOBODY, Hold, owner_of, while_late
from benchmarks.gil_reader import GilReader, Holder, Memory, discover, place_of

NAMES = {11: "stream-3", 12: "aggregator"}


def test_the_holder_of_the_gil_is_the_thread_that_runs_and_its_stack_is_found() -> None:
    """Read of this process by itself: with its file, function and line."""
    try:
        reader = GilReader(os.getpid(), discover())
    except RuntimeError as error:
        if sys.version_info >= (3, 14):
            pytest.skip(str(error))
        raise
    holder = reader.holder()
    assert holder is not None
    assert reader.native_id(holder.state) == threading.get_native_id()
    places = [place_of(*frame) for frame in reader.stack(holder.state)]
    assert [place.function for place in places[:3]] == ["Memory.read", "Memory.words", "GilReader.stack"]
    assert __file__ in {place.file for place in places}
    for function, place in zip((Memory.read, Memory.words, GilReader.stack), places, strict=False):
        source, first = inspect.getsourcelines(function.__code__)
        assert place.file == function.__code__.co_filename
        assert first < place.line < first + len(source)
    assert not reader.is_collecting()


def hold(*stacks: list[tuple[str, str, int]], looks_collecting: int = 0) -> Hold:
    """One of the aggregator."""
    return Hold(1.0, Holder(1, 1), 1.002, 12, list(stacks), looks_collecting)


def test_the_owner_is_the_innermost_function_of_the_project_that_most_looks_found() -> None:
    """A library's function is named beside it, and a thread without its number."""
    own, other = (f"{ROOT}/gone.py", "Table.add", 4), (f"{ROOT}/gone.py", "Table.close", 8)
    library = ("/usr/lib/python3.11/site-packages/numpy/core.py", "stack", 2)
    assert owner_of(hold([other], [library, own], [library, own]), NAMES) == (
        "aggregator", "Table.add (gone.py)", "0 in stack",
    )  # fmt: skip
    assert owner_of(hold([own], [own], looks_collecting=2), NAMES)[0] == "aggregator, garbage collector"
    assert owner_of(hold(), {12: "stream-3"})[:2] == ("stream", "ended before its stack was read")


def test_the_time_that_late_messages_waited_is_shared_out_among_those_who_had_the_gil() -> None:
    """A look is of the thread that held it then; a message that was not late does not count."""
    sampler: Any = SimpleNamespace(
        times_us=list(range(0, 10_000, 1_000)), states=[0, 7, 7, 7, 8, 0, 7, 8, 8, 8], threads={7: 12, 8: 11}
    )
    shares = while_late(sampler, NAMES, np.array([500, 6_500]), np.array([5_000, 500]))
    assert shares == {"aggregator": 0.6, "stream": 0.2, NOBODY: 0.2}
