"""A toy exchange: a complete venue (venue/) and its simulated exchange (simulated/), as a contributor writes them.

test_toy.py copies both into a temporary tree, where nothing else changes. It has what is odd at some exchanges, all at
once: gzip in binary frames, texts as pings that the exchange sends, a token for each dial, a welcome, a request for
each topic, no trade ids, the newest trade first, trades of before the subscription, and silence about unknown symbols.
"""
