"""What the documents name exists: files, definitions, threads, links."""

import ast
import re
from pathlib import Path

import pytest

from app.exits import Exit

ROOT = Path(__file__).resolve().parent.parent.parent
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
DOCUMENTS = [
    path
    for folder in (".", "docs", "tests", "consumers", "benchmarks", "examples", "exchanges/bybit/client")
    for path in sorted((ROOT / folder).glob("*.md"))
    if path.name != "CHANGELOG.md"  # which is about what was
]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
PLACE = re.compile(rf"(?:main\.py|(?:{'|'.join(PACKAGES)}|docs)/[\w./-]*)(?::[\w.]+)?")
IGNORED = ("output/", "conf/coins.json")  # what only a running collector or a user makes


def spans(path: Path) -> list[str]:
    """What stands between backticks, outside blocks of code."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL))


def names_of(path: Path) -> set[str]:
    """What a module defines: names, `Class.method`, `Class.attribute`, those that methods set too."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        for name in defined_by(node):
            found.add(name)
            if isinstance(node, ast.ClassDef):
                found |= {f"{name}.{inner}" for each in node.body for inner in defined_by(each)}
                found |= {
                    f"{name}.{target.attr}"
                    for target in ast.walk(node)
                    if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store)
                }
    return found


def defined_by(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    """A file that moved takes its links along."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_places_exist(document: Path) -> None:
    """Each file and folder that a document names, and each definition written as `path.py:Name`."""
    gone = []
    for place in filter(PLACE.fullmatch, spans(document)):
        path, _, name = place.partition(":")
        if path.startswith(IGNORED):
            continue
        if not (ROOT / path).exists() or (name and name not in names_of(ROOT / path)):
            gone.append(place)

    assert gone == []


def thread_names(path: Path) -> set[str]:
    """How the names of the threads begin that a module starts, as far as they are written there."""
    found = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and any(keyword.arg == "daemon" for keyword in call.keywords):
            for name in (keyword.value for keyword in call.keywords if keyword.arg == "name"):
                first = name.values[0] if isinstance(name, ast.JoinedStr) else name
                found |= {str(first.value)} if isinstance(first, ast.Constant) else set()
    return found


def test_every_package_and_thread_stands_in_the_architecture() -> None:
    """One that is added is described."""
    text = ARCHITECTURE.read_text()
    packages = [name for name in PACKAGES if name not in ("tests", "benchmarks", "examples")]
    paths = [path for name in packages for path in (ROOT / name).rglob("*.py")]
    threads = set[str]().union(
        *(thread_names(path) for path in paths if not {"simulated", "client"} & set(path.relative_to(ROOT).parts))
    )

    assert {"reader", "aggregator", "stream-", "consumer-"} <= threads
    assert [name for name in sorted(threads) if f"`{name}" not in text] == []
    assert [name for name in packages if f"`{name}/`" not in text] == []


def test_every_exit_code_stands_in_the_architecture() -> None:
    """By its number and its name."""
    text = ARCHITECTURE.read_text()

    assert [code for code in Exit if f"| {code.value} | {code.name}:" not in text] == []
