"""Another name of `exchanges.simulated`, as Bybit: `python -m exchanges.bybit.simulator`."""
