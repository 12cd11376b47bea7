"""200,000 trades of 600 symbols as publicTrade messages: what the kline benchmarks count. Pure, seeded.

A hundred seconds of a busy market over a half hour's end, so that 1m, 3m, 5m, 15m and 30m close. Some messages come
again, some in the wrong order, some after their minute has closed.
"""

import json
import math
import random
import uuid
from collections.abc import Iterator
from itertools import accumulate

TRADES, SYMBOLS = 200_000, 600
BEGIN_MS, SPAN_MS = 1_767_716_930_000, 100_000  # 70 s before a half hour
MEAN_TRADES = 2.0  # per message
REPLAYED = 400  # messages sent again in one go, as after a reconnect
SWAPPED = 0.01  # of the messages, sent after the next one
LATE = 20  # messages that come so long after their minute's end that it has closed
LATE_MS = 600
CLOSED_MS = 60_000  # after the last trade: by then everything is counted and closed


def make(seed: int) -> list[tuple[int, bytes]]:
    """When each message arrives (ms) and what it is, in the order of arrival."""
    rng = random.Random(seed)
    found = list(_messages(rng))
    middle = len(found) // 2
    replay_ms = found[middle][0] + 200
    replayed = [(replay_ms, payload) for _, payload in found[middle - REPLAYED : middle]]
    for i in range(len(found) - 1):
        if rng.random() < SWAPPED:
            found[i], found[i + 1] = found[i + 1], found[i]
    ends = [i for i, (at_ms, _) in enumerate(found) if at_ms % 60_000 > 59_000]
    for i in rng.sample(ends, LATE):
        at_ms, payload = found[i]
        found[i] = (at_ms - at_ms % 60_000 + 60_000 + LATE_MS, payload)
    return sorted(found + replayed, key=lambda message: message[0])


def _messages(rng: random.Random) -> Iterator[tuple[int, bytes]]:
    names = [f"SYM{number:03d}USDT" for number in range(SYMBOLS)]
    weights = list(accumulate(1 / (number + 1) ** 0.9 for number in range(SYMBOLS)))
    prices = [10 ** rng.uniform(-3, 4.8) for _ in names]
    decimals = [min(6, max(0, 4 - int(math.log10(price)))) for price in prices]
    made, seq = 0, 10**11
    while made < TRADES:
        number = rng.choices(range(SYMBOLS), cum_weights=weights)[0]
        event_ms = BEGIN_MS + SPAN_MS * made // TRADES
        trades = []
        for _ in range(min(1 + int(rng.expovariate(1 / (MEAN_TRADES - 0.5))), 60)):
            prices[number] *= 1 + rng.gauss(0, 1e-5)
            seq += rng.randint(1, 40)
            trades.append(_trade(rng, names[number], f"{prices[number]:.{decimals[number]}f}", event_ms, seq))
        made += len(trades)
        message = {"topic": f"publicTrade.{names[number]}", "type": "snapshot", "ts": event_ms + 3, "data": trades}
        yield event_ms + 5, json.dumps(message, separators=(",", ":")).encode()


def _trade(rng: random.Random, symbol: str, price: str, event_ms: int, seq: int) -> dict[str, object]:
    return {
        "T": event_ms,
        "s": symbol,
        "S": rng.choice(("Buy", "Sell")),
        "v": f"{rng.expovariate(0.1) + 0.001:.3f}",
        "p": price,
        "L": "PlusTick",
        "i": str(uuid.UUID(int=rng.getrandbits(128))),
        "BT": False,
        "RPI": False,
        "seq": seq,
    }


def read(path: str) -> list[tuple[int, bytes]]:
    """What was written with one message per line, its time before it."""
    with open(path, "rb") as file:
        lines = [line.rstrip(b"\n").split(b" ", 1) for line in file]
    return [(int(at_ms), payload) for at_ms, payload in lines]
