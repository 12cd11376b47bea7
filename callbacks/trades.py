"""Trades: to the raw channel, and to the aggregator, which makes klines of them.

Called on stream threads; never blocks. Payloads of `publicTrade.<SYMBOL>`:
`{"topic", "type", "ts", "data": [{"T", "s", "S", "v", "p", "i", ...}]}`. The aggregator also learns, in the order of
the data, when the feed came and went.
"""

from callbacks.payload import PayloadCallback

handle_trades = PayloadCallback("trades")
handle_spot_trades = PayloadCallback("trades", "spot")
