"""Bitget's classic API v2 as a dialect of the simulated exchange: the public socket and public REST, as documented."""
