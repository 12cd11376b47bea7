"""`python -m exchanges.bybit.simulator`: the simulated Bybit."""

import sys

from exchanges.simulated.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
