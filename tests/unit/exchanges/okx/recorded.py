"""The recorded WebSocket messages of OKX, as they stand in their files."""

import json
from pathlib import Path


def frames(shared_data: Path) -> list[bytes]:
    """Every message that was received in every recording."""
    found = []
    for path in sorted((shared_data / "okx" / "ws").iterdir()):
        for line in path.read_bytes().splitlines():
            start = line.find(b"{")
            if start >= 0 and b" <- " not in line[:start]:  # those were sent
                found.append(line[start:])
    return found


def of_channel(shared_data: Path, *channels: str) -> list[bytes]:
    """The data messages of some channels."""
    return [
        frame
        for frame in frames(shared_data)
        if json.loads(frame).get("arg", {}).get("channel") in channels and b'"data"' in frame
    ]
