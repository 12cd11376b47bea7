"""Short programs with the Bybit client, checked by `mypy --strict` and run by tests."""
