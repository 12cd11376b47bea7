"""Trades: to the raw channel, and to the aggregator, which makes klines of them.

Called on stream threads; never blocks. Payloads of `publicTrade.<SYMBOL>`:
`{"topic", "type", "ts", "data": [{"T", "s", "S", "v", "p", "i", ...}]}`. Feed markers go to the aggregator
in the order of the data.
"""

from callbacks.payload import PayloadCallback

handle_trades = PayloadCallback("trades")
handle_spot_trades = PayloadCallback("trades", "spot")
