"""The toy exchange, simulated."""
