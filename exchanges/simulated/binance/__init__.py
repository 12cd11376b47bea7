"""The simulated Binance: spot, USD-M and COIN-M futures, written from their documentation."""
