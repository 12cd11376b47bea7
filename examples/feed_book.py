"""The order book of a symbol, rebuilt and following the market; `unsure` between a gap and its repair.

python -m examples.feed_book
"""

from feed import Feed

for state in Feed().book("BTCUSDT"):
    if not state.unsure:
        print(state.best.bid, state.best.ask, flush=True)
