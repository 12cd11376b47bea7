"""The list of coins in a file that may be edited while the collector runs: {"coins": ["BTCUSDT", "ETHUSDT"]}.

The thread `coins` polls `CoinsFile`; it compares the content, so that every way in which editors save is seen.
A file that is wrong changes nothing.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import structlog

from model.files import NotRegularError, open_descriptor
from model.symbols import canonical, is_symbol

log = structlog.get_logger()

KEYS = ("coins", "symbols")  # of the object that the list is in
FILE_BYTES_MAX = 1_000_000  # 50,000 symbols; more is not a list of coins

Signature = tuple[int, int, int]


class CoinsError(ValueError):
    """The list is wrong; the text has the place and the reason."""


def read_coins(text: str) -> tuple[str, ...]:
    """Read the names, symbols (BTCUSDT) or coins (BTC): in capitals, each once, in their order. Raises CoinsError.

    A list, or an object with it under "coins" (or "symbols"). An object of names and switches is fine too:
    {"coins": {"BTCUSDT": true, "ETHUSDT": false}} is BTCUSDT alone.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise CoinsError(f"line {error.lineno}, column {error.colno}: no valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise CoinsError("no valid JSON: nested too deeply") from error
    except ValueError as error:  # of Python's bound on the digits of an integer
        raise CoinsError("a number is too long, and no name") from error
    names = _names(_list_of(content))
    if wrong := [name for name in names if not is_symbol(name)]:
        raise CoinsError(f"line {_line_of(text, wrong[0])}: {wrong[0]!r} is no symbol and no coin")
    if not names:
        raise CoinsError("the list is empty: name at least one, or stop the collector")
    return tuple(dict.fromkeys(names))


def _list_of(content: object) -> object:
    if not isinstance(content, dict):
        return content
    key = next((key for key in KEYS if key in content), None)
    if key is None:
        raise CoinsError('"coins" is missing: write {"coins": ["BTCUSDT", "ETHUSDT"]}')
    return content[key]


def _names(found: object) -> list[str]:
    if isinstance(found, dict) and all(isinstance(switch, bool) for switch in found.values()):
        found = [name for name, switch in found.items() if switch]
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise CoinsError('"coins" must be a list of texts: ["BTCUSDT", "ETHUSDT"]')
    return [canonical(name) for name in found]


def _line_of(text: str, name: str) -> int:
    """The line of a name in the file; 1 where the file spells it otherwise."""
    before, found, _ = text.upper().partition(f'"{name}"')
    return before.count("\n") + 1 if found else 1


class CoinsFile:
    """The names in the first of `paths` that exists, as last read without a mistake. One thread calls `changed`."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths
        self._path = Path(*paths[:1])
        self._signature: Signature | None = None
        self._logged_error = ""  # of the last read, so that it is logged once
        self.names: tuple[str, ...] = ()

    def load(self) -> tuple[str, ...]:
        """Read the names at the start, none where there is no file; raises CoinsError for a file with a mistake."""
        self._signature = self._signature_now()
        is_first = not self.names
        if self._signature is not None:
            try:
                self.names = self._read()
            except (OSError, CoinsError) as error:
                raise CoinsError(f"COINS_FILE={str(self._path)!r}: {error}") from error
            if is_first:
                log.info("coins_file_read", path=str(self._path.absolute()), count=len(self.names))
        return self.names

    def changed(self) -> Sequence[str] | None:
        """The names where an edit changed them, else None; a file that is wrong or gone is logged, no more."""
        signature = self._signature_now()
        if signature == self._signature:
            return None
        self._signature = signature
        if signature is None:
            log.warning("coins_file_gone", path=str(self._path), kept=len(self.names))
            return None
        try:
            names = self._read()
        except (NotRegularError, CoinsError) as error:
            log.error("coins_file_wrong", path=str(self._path), problem=str(error), kept=len(self.names))
            return None
        except OSError as error:
            self._signature = None  # perhaps in the middle of a save: the next poll reads it again
            if self._logged_error != str(error):
                self._logged_error = str(error)
                log.warning("coins_file_unreadable", path=str(self._path), error=str(error), kept=len(self.names))
            return None
        self._logged_error = ""
        is_same, self.names = names == self.names, names
        return None if is_same else names

    def _read(self) -> tuple[str, ...]:
        with open(self._path, "rb", opener=open_descriptor) as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise CoinsError(f"larger than {FILE_BYTES_MAX} bytes")
        try:
            return read_coins(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise CoinsError("no UTF-8 text") from error

    def _signature_now(self) -> Signature | None:
        """The file's time, size and inode, one of which every save changes, by a new file in its place too."""
        for path in self._paths:
            try:
                found = os.stat(path)
            except OSError:
                continue
            self._path = path
            return found.st_mtime_ns, found.st_size, found.st_ino
        return None
