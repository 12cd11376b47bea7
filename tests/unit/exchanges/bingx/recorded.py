"""The recorded WebSocket messages of BingX, unpacked, and its recorded REST answers."""

import json
from pathlib import Path
from typing import Any


def frames(shared_data: Path, what: str = "") -> list[bytes]:
    """The messages whose note begins so."""
    lines = (shared_data / "bingx" / "live.jsonl").read_text().splitlines()
    return [entry["raw"].encode() for entry in map(json.loads, lines) if entry["what"].startswith(what)]


def answer(shared_data: Path, name: str) -> Any:
    """A REST answer."""
    return json.loads((shared_data / "bingx" / f"rest_{name}.json").read_text())
