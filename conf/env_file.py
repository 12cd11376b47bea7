"""The `.env` file: which one is read, and what it holds.

The environment variable `ENV_FILE` names one; else it is the `.env` of the working directory, else the one beside
main.py. Errors and warnings give the place in a file, never a value.
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from dotenv.parser import Binding, parse_stream
from dotenv.variables import Variable, parse_variables

from conf.names import SettingWarning
from model.files import read_file

ENV_FILE = "ENV_FILE"  # an environment variable: it names the file that the others are in
HOME = Path(__file__).absolute().parent.parent  # where main.py is
DEFAULT = ".env"  # the only file that may be missing
NO_FILE = "none"  # as ENV_FILE
SINGLE_QUOTED = re.compile(r"\s*(?:export\s+)?(?:'[^']*'|[^=\s'#]+)\s*=[^\S\n]*'")


class EnvFile(NamedTuple):
    """Names and texts of a file, and the errors and warnings about it."""

    values: Mapping[str, str] = MappingProxyType({})
    errors: Sequence[str] = ()
    warnings: Sequence[SettingWarning] = ()


NOTHING = EnvFile()


def find_env_file(environ: Mapping[str, str], home: Path = HOME) -> tuple[Path | None, EnvFile]:
    """The file to read, None where there is none, and the errors and warnings about the choice."""
    named = environ.get(ENV_FILE, "").strip()
    if named == NO_FILE:
        return None, NOTHING
    if named:
        found = next((path for path in (Path(named), home / named) if path.exists()), None)
        error = f"{ENV_FILE}={named!r}: no such file, neither in {Path.cwd()} nor in {home}"
        return found, NOTHING if found else EnvFile(errors=[error])
    here, beside = Path(DEFAULT), home / DEFAULT
    if not here.exists():
        return (beside if beside.exists() else None), NOTHING
    is_hidden = beside.exists() and not beside.samefile(here)
    advice = f"of {Path.cwd()} is read, not the one of {home}; name another with {ENV_FILE}"
    return here, EnvFile(warnings=[SettingWarning(DEFAULT, advice)]) if is_hidden else NOTHING


def read_env_file(path: str | Path | None, environ: Mapping[str, str]) -> EnvFile:
    """Read a file; empty for None or a missing `.env`.

    `${NAME}` is expanded from the file's lines above and from `environ`, but not in single quotes; where the name is
    not set, it stays as it is.
    """
    if path is None or (not Path(path).exists() and Path(path).name == DEFAULT):
        return NOTHING
    try:
        text = read_file(path).decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except OSError as error:
        return EnvFile(errors=[f"{path}: cannot be read: {error.strerror}"])
    except UnicodeDecodeError:
        return EnvFile(errors=[f"{path}: cannot be read: save it as UTF-8 text"])
    values: dict[str, str] = {}
    errors: list[str] = []
    warnings: list[SettingWarning] = []
    for line in parse_stream(io.StringIO(text)):
        if line.error:
            errors.append(f"{path}: line {line.original.line}: write NAME=value, with quotes closed")
        elif line.key is not None:
            values[line.key], is_whole = _expanded(line, {**environ, **values})
            if not is_whole:
                advice = "has a ${NAME} that is not set: it stands as it is written, as it would in single quotes"
                warnings.append(SettingWarning(line.key, advice))
    if ENV_FILE in values:
        warnings.append(SettingWarning(ENV_FILE, "has no effect in a file: set it in the environment"))
    return EnvFile(values, errors, warnings)


def _expanded(line: Binding, known: Mapping[str, str]) -> tuple[str, bool]:
    """The text of a line with its variables expanded, and whether all of them are known."""
    text = line.value or ""
    if SINGLE_QUOTED.match(line.original.string):
        return text, True
    is_whole, parts = True, []
    for atom in parse_variables(text):
        if isinstance(atom, Variable) and atom.default is None and atom.name not in known:
            is_whole = False
            parts.append(f"${{{atom.name}}}")
        else:
            parts.append(atom.resolve(known))
    return "".join(parts), is_whole
