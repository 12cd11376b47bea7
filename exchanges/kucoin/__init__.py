"""KuCoin, classic sockets: spot, and perpetual contracts settled in USDT or USDC. Market data only."""
