"""Bybit V5. Imports nothing by itself: the feed, the API client and the simulator are each used without the others."""
