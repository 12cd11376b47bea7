"""Gate V4: spot, linear perpetuals settled in USDT. Market data only."""
