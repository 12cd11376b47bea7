"""OKX V5 as a dialect of the simulated exchange: public sockets and the public REST API, by OKX's documentation."""
