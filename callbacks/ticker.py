"""Tickers: snapshots and deltas to the raw channel, untouched.

Called on stream threads; never blocks. Payloads of `tickers.<SYMBOL>`; linear and inverse send a snapshot and
then only what changed, spot sends snapshots. Who merges them learns when the feed came and went.
"""

from callbacks.payload import PayloadCallback

handle_ticker = PayloadCallback("ticker")
handle_spot_ticker = PayloadCallback("ticker", "spot")
