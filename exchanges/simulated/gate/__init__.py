"""Gate V4 as a dialect of the simulated exchange: sockets of spot and of USDT futures, REST, by its documentation."""
