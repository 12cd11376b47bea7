"""Binance: spot, USD-M futures (linear) and COIN-M futures (inverse), market data only."""
