"""Liquidations: to the raw channel, untouched.

Called on stream threads; never blocks. Payloads of `allLiquidation.<SYMBOL>`; `S` is the side of the position:
Buy is a liquidated long. Spot has none.
"""

from callbacks.payload import PayloadCallback

handle_liquidations = PayloadCallback("liquidations")
