"""Settings as the system hands them over: other folders, other files, a container platform's variables."""

import shutil

import pytest

from tests.acceptance.harness import ROOT, CollectorProcess


@pytest.fixture
def checkout(tmp_path):
    """A folder with main.py and all it needs, and a .env and a list of coins beside it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.name not in (".git", ".env", "output", "main.py", "config"):
            (folder / path.name).symlink_to(path)
    shutil.copy(ROOT / "main.py", folder)
    (folder / "config").mkdir()
    (folder / "config" / "coins.json").write_text('{"coins": ["XRPUSDT", "DOTUSDT", "SOLUSDT"]}')
    (folder / ".env").write_text("RAW_STREAMS=trades\nENABLED_CONSUMERS=console\nBYBIT_WS_URL=ws://127.0.0.1:9/x\n")
    (folder / ".env.bybit").write_text("RAW_STREAMS=trades,ticker\nBYBIT_WS_URL=ws://127.0.0.1:9/x\n")
    return folder


@pytest.mark.parametrize(
    ("named", "plan"),
    [({"COINS_FILE": "config/coins.json"}, "1 sockets, 3 topics"), ({"ENV_FILE": ".env.bybit"}, "2 sockets, 4 topics")],
)
def test_files_beside_main_count_from_any_folder(checkout, tmp_path, named, plan):
    """As cron starts it; Kubernetes' own variables do no harm, and are warned about."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    given = {"ENV_FILE": "", "REDIS_PORT": "tcp://10.0.0.1:6379", **named}
    with CollectorProcess(elsewhere, checkout / "main.py", "--dry-run", **given) as collector:
        assert collector.wait(30) == 0, collector.newest_output()
    assert any(line.startswith(plan) for line in collector.output), collector.newest_output()
    assert "REDIS_PORT" in [entry["name"] for entry in collector.events("setting_suspicious")]
    assert collector.events("settings_read")[0]["env_file"] == str(checkout / (given["ENV_FILE"] or ".env"))
