"""Threads that must live as long as the process does, and which of them do not.

An owner names its threads by a method `threads`; main asks now and then. Pure.
"""

from collections.abc import Iterable
from threading import Thread


def dead_of(threads: Iterable[Thread]) -> list[str]:
    """The names of those that were started and have ended."""
    return [thread.name for thread in threads if thread.ident is not None and not thread.is_alive()]
