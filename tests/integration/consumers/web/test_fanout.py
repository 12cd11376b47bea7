"""Many clients, some of which never read: a short form of benchmarks/wss_fanout.py."""

import threading

from benchmarks.wss_servers import SYMBOLS, kline
from benchmarks.wss_swarm import Swarm
from model.envelope import Envelope
from tests.support.waiting import wait_until

READERS, STUCK, PER_CLIENT, KLINES, BOUND = 40, 5, 20, 12_000, 2_000


def test_those_who_read_get_everything_in_order_and_those_who_do_not_are_closed(serve):
    """The stuck ones cost the others nothing, and each gets the reason why it was closed."""
    worker = serve(client_queue=BOUND)
    swarm = Swarm(worker.consumer.port, READERS, STUCK, PER_CLIENT, checked=READERS)
    wait_until(lambda: worker.stats().extra["clients"] == READERS + STUCK)

    def feed() -> None:
        for number in range(KLINES):
            worker.offer(Envelope("bybit", "linear", "klines", (kline(number),)))

    feeder = threading.Thread(target=feed)
    feeder.start()
    swarm.read(0.5, quiet_s=1.0)
    feeder.join()
    wait_until(lambda: worker.stats().extra["closed_slow"] == STUCK)
    swarm.look_at_stuck()
    result = swarm.result(KLINES)
    swarm.close()
    assert (result["missing"], result["out_of_order"], result["closed_readers"]) == (0, 0, 0)
    assert result["received"] == READERS * PER_CLIENT * KLINES // len(SYMBOLS)
    assert result["stuck_reasons"] == [f"1008 too slow: more than {BOUND} messages behind"]
    assert result["stuck_closed"] == STUCK
    assert worker.stats().extra["groups"] <= READERS
