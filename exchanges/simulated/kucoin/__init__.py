"""KuCoin's classic API as a dialect of the simulated exchange, by its documentation and by recordings."""
