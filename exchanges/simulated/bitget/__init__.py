"""Bitget's API v2 as a dialect of the simulated exchange, with the liquidations of v3: public sockets and REST."""
