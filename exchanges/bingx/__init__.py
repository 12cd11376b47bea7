"""BingX: spot and perpetual swaps (USDT, USDC). Market data only."""
