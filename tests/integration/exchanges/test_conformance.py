"""`python -m exchanges.conformance`: every venue keeps to the contract, on recorded frames and simulated exchanges."""

import subprocess
import sys
from pathlib import Path

import pytest

from exchanges.registry import VENUES

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 110


@pytest.mark.parametrize("name", list(VENUES))
def test_every_venue_conforms(name: str, shared_data: Path) -> None:
    """Declaration, protocol, recorded frames, REST and streams: nothing fails, and each part runs."""
    done = subprocess.run(
        [sys.executable, "-m", "exchanges.conformance", name], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, "\n".join(
        line for line in (done.stdout + done.stderr).splitlines() if "passed " not in line
    )
    for part in ("declaration", "protocol", "recorded", "rest", "streams"):
        assert f"{name}: passed   {part}: " in done.stdout
