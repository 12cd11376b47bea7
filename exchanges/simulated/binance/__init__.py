"""Binance (spot, USD-M, COIN-M) as a dialect of the simulated exchange: public sockets and REST, by its documents."""
