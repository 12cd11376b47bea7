"""Documents made of declarations: .env.example and docs/SETTINGS.md of the settings, docs/EXCHANGES.md of exchanges.

`python -m app.documents` (make settings) writes the files; a unit test fails where one of them is stale.
"""

from collections.abc import Callable
from pathlib import Path

from conf.document import between, env_example, with_table
from exchanges.conformance.table import BEGIN, END, table
from exchanges.registry import VENUES

ROOT = Path(__file__).resolve().parent.parent
EXCHANGES = ROOT / "docs" / "EXCHANGES.md"


def documents() -> dict[Path, Callable[[str], str]]:
    """The files, and how each is made of the text it has."""
    return {
        ROOT / ".env.example": lambda _: env_example(),
        ROOT / "docs" / "SETTINGS.md": with_table,
        EXCHANGES: with_exchanges,
    }


def with_exchanges(text: str) -> str:
    """A text with its table of exchanges made anew; ValueError without its markers."""
    return between(text, BEGIN, END, table(VENUES.values()))


def main() -> None:
    """Write the files anew."""
    for path, made in documents().items():
        path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
