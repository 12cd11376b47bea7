"""Documents made of declarations: .env.example, and docs/SETTINGS.md, docs/EXCHANGES.md and docs/MONITORING.md in part.

`python -m app.documents` (make settings) writes the files; a unit test fails where one of them is stale.
"""

from collections.abc import Callable
from pathlib import Path

from app.metrics import FAMILIES
from conf.document import between, env_example, with_table
from exchanges.conformance.table import BEGIN, END, table
from exchanges.registry import VENUES

ROOT = Path(__file__).resolve().parent.parent
EXCHANGES = ROOT / "docs" / "EXCHANGES.md"
METRICS_BEGIN, METRICS_END = "<!-- metrics: made by `make settings` from app/metrics.py -->", "<!-- end of metrics -->"


def documents() -> dict[Path, Callable[[str], str]]:
    """The files, and how each is made of the text it has."""
    return {
        ROOT / ".env.example": lambda _: env_example(),
        ROOT / "docs" / "SETTINGS.md": with_table,
        EXCHANGES: with_exchanges,
        ROOT / "docs" / "MONITORING.md": with_metrics,
    }


def with_exchanges(text: str) -> str:
    """A text with its table of exchanges made anew; ValueError without its markers."""
    return between(text, BEGIN, END, table(VENUES.values()))


def with_metrics(text: str) -> str:
    """The text of docs/MONITORING.md with its table of metrics made anew; ValueError without its markers."""
    rows = [
        f"| `{each.full_name}` | {each.type} | {', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in FAMILIES
    ]
    return between(text, METRICS_BEGIN, METRICS_END, ["| metric | type | labels | |", "|---|---|---|---|", *rows])


def main() -> None:
    """Write the files anew."""
    for path, made in documents().items():
        path.write_text(made(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
