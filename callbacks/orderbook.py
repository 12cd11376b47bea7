"""Order books: snapshots and deltas to the raw channel, untouched.

Called on stream threads; never blocks. Payloads of `orderbook.<DEPTH>.<SYMBOL>`:
`{"topic", "type": "snapshot" | "delta", "ts", "data": {"s", "b", "a", "u", "seq"}, "cts"}`.
"""

from callbacks.payload import PayloadCallback

handle_orderbook = PayloadCallback("orderbook")
handle_spot_orderbook = PayloadCallback("orderbook", "spot")
