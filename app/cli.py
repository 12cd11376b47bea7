"""What `python main.py` is asked to do on its command line. Pure, but for argparse's own --help and errors."""

import argparse
from collections.abc import Sequence

AUDIT, RELAY = "audit", "relay"

EPILOG = """\
commands:
  main.py               collect until SIGTERM, SIGINT or SIGHUP
  main.py --dry-run     print what would be streamed, over how many sockets and within which limits, and end
  main.py relay         run the outputs but those in Redis, on what collectors publish there: one for many shards
  main.py audit ...     compare past klines with the exchange's own candles; main.py audit --help says how

Settings come from the environment and from .env, or the file that ENV_FILE names; .env.example has every one.
Streams of your own: STREAMS in main.py.
Exit codes: 0 asked to stop, 2 wrong settings, 3 an output or the list of symbols cannot be reached, 4 a thread is lost,
5 the stop deadline passed, 6 a stream was given up after RECONNECT_MAX_ATTEMPTS.
"""


def wants_dry_run(arguments: Sequence[str]) -> bool:
    """Whether only the plan is asked for; SystemExit 0 after --help, 2 with a sentence for what is not understood."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Bybit's market data, byte for byte on Redis Pub/Sub, with closed klines.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and end")
    return bool(parser.parse_args(list(arguments)).dry_run)
