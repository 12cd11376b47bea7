"""The folder stands alone: copied elsewhere it works with redis and msgspec, and nothing else."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
import feed
from feed.records import Kline
assert feed.__file__.startswith({folder!r}), feed.__file__
table = feed.Table.of([], "1m")
assert len(table) == 0
for call, text in [
    (lambda: feed.Feed({address!r}, http={http!r}).klines("BTCUSDT", "1m"), "No collector answers"),
    (lambda: feed.Feed({address!r}, http=None).live("BTCUSDT", "1m").next(), "start it"),
    (lambda: feed.Feed({address!r}, http={http!r}).book("BTCUSDT"), "pip install websockets"),
    (lambda: feed.Feed("ws://127.0.0.1:9").live("BTCUSDT", "1m"), "pip install websockets"),
    (lambda: feed.Feed("localhost"), "is no address"),
    (table.to_pandas, "pip install pandas"),
]:
    try:
        call()
    except feed.FeedError as error:
        assert text in str(error), error
    else:
        raise AssertionError(text)
ours = {{"model", "network", "consumers", "conf", "app", "pandas", "websockets", "pyarrow"}}
assert not ours & {{name.partition(".")[0] for name in sys.modules}}
"""


def test_a_copy_of_the_folder_works_with_redis_and_msgspec_alone(tmp_path, free_port):
    """No site-packages, no project: what it cannot do there it says in a sentence."""
    shutil.copytree(ROOT / "feed", tmp_path / "feed", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("redis", "msgspec"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (tmp_path / name).symlink_to(Path(spec.origin).parent)
    address, http = f"redis://127.0.0.1:{free_port}", f"http://127.0.0.1:{free_port}"
    script = SCRIPT.format(folder=str(tmp_path), address=address, http=http)
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-S", "-E", "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_typed():
    """Type checkers read its annotations where it is imported from."""
    assert (ROOT / "feed" / "py.typed").is_file()
