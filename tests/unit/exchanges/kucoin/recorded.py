"""The recorded WebSocket messages of KuCoin, as they stand in their files."""

import json
from pathlib import Path

from exchanges.conformance.recordings import read_folder
from exchanges.kucoin.venue import VENUE


def frames(shared_data: Path) -> list[bytes]:
    """Every message that was received in every recording, but for what the recorder made of REST answers itself."""
    found = read_folder(VENUE, shared_data / "kucoin").files.values()
    return [frame for each in found for frame in each if b'"generated":true' not in frame]


def of_channel(shared_data: Path, *channels: str) -> list[bytes]:
    """The data messages of some channels."""
    return [
        frame
        for frame in frames(shared_data)
        if str(json.loads(frame).get("topic", "")).partition(":")[0] in channels and b'"type":"message"' in frame
    ]
