"""BingX as a dialect of the simulated exchange: spot and swap sockets, and public REST, by BingX's documentation."""
