"""The recorded WebSocket messages of Bitget's v2 and v3 sockets, as they stand in their files."""

import json
from pathlib import Path


def frames(shared_data: Path, pattern: str = "v2_*.jsonl") -> list[bytes]:
    """Every message of some files; of live_2026.jsonl the frame that a line has."""
    found = []
    for path in sorted((shared_data / "bitget").glob(pattern)):
        for line in path.read_bytes().splitlines():
            entry = json.loads(line)
            found.append(entry["raw"].encode() if "raw" in entry else line)
    return found


def v2(shared_data: Path) -> list[bytes]:
    """Those of v2, of 2024 and 2026."""
    return frames(shared_data) + frames(shared_data, "live_2026.jsonl")


def of_channel(shared_data: Path, *channels: str) -> list[bytes]:
    """The data messages of some channels, of v2."""
    return [
        frame
        for frame in v2(shared_data)
        if json.loads(frame).get("arg", {}).get("channel") in channels and b'"data"' in frame
    ]
