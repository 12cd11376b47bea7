"""Tickers: snapshots and deltas to the raw channel, untouched.

Called on stream threads; never blocks. Payloads of `tickers.<SYMBOL>`; linear and inverse send a snapshot and
then only what changed, spot sends snapshots. The feed's markers go with them to the decoder that merges them.
"""

from callbacks.payload import PayloadCallback

handle_ticker = PayloadCallback("ticker")
handle_spot_ticker = PayloadCallback("ticker", "spot")
