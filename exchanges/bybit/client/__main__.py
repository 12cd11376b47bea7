"""`python -m exchanges.bybit.client --help`."""

import sys

from exchanges.bybit.client.cli import main

if __name__ == "__main__":
    sys.exit(main())
