"""OKX V5: spot, linear swaps (USDT, USDC), inverse swaps (settled in the coin). Market data only."""
