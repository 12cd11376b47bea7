"""A tree with one more exchange: all that there is, linked, and the toy's two folders beside its own."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).parent
PACKAGES = ("aggregation", "app", "callbacks", "conf", "consumers", "model", "network", "streams")


def tree_with_toy(folder: Path) -> Path:
    """Make the tree: nothing of the project changes but for these two folders. main.py is a copy, for Python's path."""
    exchanges = folder / "exchanges"
    for here, there in ((ROOT / "exchanges", exchanges), (ROOT / "exchanges" / "simulated", exchanges / "simulated")):
        there.mkdir(parents=True)
        for path in here.iterdir():
            if path.name not in ("__pycache__", "simulated"):
                (there / path.name).symlink_to(path)
    for name in PACKAGES:
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "main.py", folder)
    for part, place in (("venue", exchanges / "toy"), ("simulated", exchanges / "simulated" / "toy")):
        shutil.copytree(TOY / part, place, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
