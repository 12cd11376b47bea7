"""The command line of the simulator as one frozen record.

Pure: reads arguments, refuses wrong ones with a sentence (argparse, exit code 2).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

KINDS = ("trades", "orderbook", "ticker", "liquidation")  # what the generator makes; kline comes from the truth

DEFAULT_MIX = "trades=60,orderbook=30,ticker=8,liquidation=2"
MAX_SYMBOLS = 2000  # per category; a linear listing has about 750


@dataclass(frozen=True, slots=True)
class Options:
    """All options of the simulator. Times in seconds, rates in market events per second."""

    host: str = "127.0.0.1"
    ws_port: int = 0
    rest_port: int = 0
    categories: tuple[str, ...] = ("linear", "spot", "inverse")
    symbols: int = 10
    illiquid: int = 2
    rate: float = 100.0
    mix: tuple[tuple[str, float], ...] = (("trades", 60), ("orderbook", 30), ("ticker", 8), ("liquidation", 2))
    seed: int = 1
    history_minutes: int = 200
    true_seconds: bool = False
    flood: int = 0
    flood_when_subscribed: int = 1
    replay: str = ""
    replay_rate: float = 0.0
    replay_speed: float = 0.0
    replay_path: str = ""
    replay_when_subscribed: int = 0
    digest: bool = False
    idle_timeout_s: float | None = None
    connect_limit: int | None = None
    lifetime_s: float | None = None
    trades_kept: int = 2000
    rest_limit: int | None = None
    ban_s: float | None = None
    max_buffer_mb: int = 64
    api_key: tuple[str, ...] = ()
    uid_limit: int | None = None
    active_orders: int = 500
    answer_delay_ms: float = 0.0
    tls_cert: str = ""
    tls_key: str = ""

    def rates(self) -> dict[str, float]:
        """Events per second of each kind."""
        total = sum(share for _, share in self.mix) or 1
        rates = dict.fromkeys(KINDS, 0.0)
        rates.update({kind: self.rate * share / total for kind, share in self.mix})
        return rates


class Exchange(Protocol):
    """What of a dialect the command line depends on."""

    @property
    def name(self) -> str: ...
    @property
    def categories(self) -> tuple[str, ...]: ...
    @property
    def usual_categories(self) -> tuple[str, ...]: ...
    def check(self, options: Options) -> str: ...


def parse_options(arguments: Sequence[str], exchange: Exchange) -> Options:
    """Options from command-line arguments; SystemExit(2) with a sentence for each wrong one."""
    parser = _parser(exchange)
    defaults = {field.name: field.default for field in fields(Options)}
    own: dict[str, object] = {"illiquid": None, "api_key": [], "categories": exchange.usual_categories}
    parser.set_defaults(**defaults | own)
    values = vars(parser.parse_args(arguments))
    if values["illiquid"] is None:
        values["illiquid"] = values["symbols"] // 4
    if values["illiquid"] >= values["symbols"]:
        parser.error("--illiquid must be less than --symbols: somebody has to trade")
    if bool(values["tls_cert"]) != bool(values["tls_key"]):
        parser.error("--tls-cert and --tls-key go together")
    values["api_key"] = tuple(values["api_key"])
    del values["exchange"]
    options = Options(**values)
    if objection := exchange.check(options):
        parser.error(objection)
    return options


def _parser(exchange: Exchange) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m exchanges.simulated", description=f"A simulated {exchange.name}: WebSocket and REST."
    )
    add = parser.add_argument
    categories = _Categories(exchange.categories)
    add("--exchange", default="", help="which one; bybit without it")
    add("--host")
    add("--ws-port", type=_Number(int, 0, 65535), help="0 picks a free port")
    add("--rest-port", type=_Number(int, 0, 65535), help="0 picks a free port")
    add("--categories", type=categories.several, help=f"comma list of {', '.join(exchange.categories)}")
    add("--symbols", type=_Number(int, 1, MAX_SYMBOLS), help="symbols per category")
    add("--illiquid", type=_Number(int, 0, MAX_SYMBOLS), help="how many of them trade rarely (a quarter)")
    add("--rate", type=_Number(float, 0, 1e6), help="market events per second, 0 is silence")
    add("--mix", type=_mix, help=f"share of each kind ({DEFAULT_MIX})")
    add("--seed", type=int)
    add("--history-minutes", type=_Number(int, 0, 4000), help="1m candles from before the start")
    add("--true-seconds", action="store_true", help="keep true 1s candles too (last 70 minutes)")
    add("--flood", type=_Number(int, 0, 10**10), help="send N messages as fast as clients take them")
    add("--flood-when-subscribed", type=_Number(int, 1, 10**6), help="topics that start the flood")
    add("--replay", metavar="FILE", help="recorded payloads: a file, also .gz, or a folder (see replay.py)")
    add("--replay-rate", type=_Number(float, 0, 1e7), help="payloads per second, 0 is no limit")
    add("--replay-speed", type=_Number(float, 0, 1e6), help="1 is as recorded, 2 twice as fast, 0 no limit")
    add("--replay-path", type=categories.one, help="category that gets the replay; any without it")
    add("--replay-when-subscribed", type=_Number(int, 0, 10**6), help="topics that start the replay")
    add("--digest", action="store_true", help="ordered sha256 per connection and kind in /sim/stats")
    add("--idle-timeout-s", type=_Number(float, 0.1, 1e6))
    add("--connect-limit", type=_Number(int, 1, 10**9), help="connections per 5 minutes")
    add("--rest-limit", type=_Number(int, 1, 10**9), help="REST requests per 5 seconds")
    add("--lifetime-s", type=_Number(float, 0.1, 1e7), help="age at which the exchange ends a connection")
    add("--trades-kept", type=_Number(int, 1, 10**7), help="newest trades per symbol that REST has (2000)")
    add("--ban-s", type=_Number(float, 0, 1e6), help="how long a broken limit answers 403")
    add("--max-buffer-mb", type=_Number(int, 1, 4096), help="unread bytes that drop a slow client")
    add("--api-key", action="append", metavar="KEY:SECRET[:UID[:read]]", help="see bybit/PRIVATE.md")
    add("--uid-limit", type=_Number(int, 0, 10**6), help="private requests per second and endpoint, 0 is no limit")
    add("--active-orders", type=_Number(int, 1, 10**7), help="open orders per account and symbol")
    add("--answer-delay-ms", type=_Number(float, 0, 60_000), help="control frames are answered this late")
    add("--tls-cert", metavar="FILE", help="PEM; both ports speak TLS")
    add("--tls-key", metavar="FILE")
    return parser


class _Number:
    """An argparse type whose message names what is allowed."""

    def __init__(self, kind: type[int] | type[float], low: float, high: float) -> None:
        self._kind, self._low, self._high = kind, low, high

    def __call__(self, text: str) -> float:
        try:
            value = self._kind(text)
        except ValueError:
            value = self._low - 1
        if not self._low <= value <= self._high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {self._low} to {self._high}")
        return value


class _Categories:
    """The argparse types of categories."""

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def several(self, text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(",")))
        if not set(names) <= set(self._known):
            raise argparse.ArgumentTypeError(f"{text!r}: allowed are {', '.join(self._known)}")
        return names

    def one(self, text: str) -> str:
        return self.several(text)[0] if text else ""


def _mix(text: str) -> tuple[tuple[str, float], ...]:
    try:
        shares = tuple((kind, float(share)) for kind, share in (part.split("=") for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} does not look like {DEFAULT_MIX}") from None
    if not {kind for kind, _ in shares} <= set(KINDS) or any(share < 0 for _, share in shares):
        raise argparse.ArgumentTypeError(f"{text!r}: kinds are {', '.join(KINDS)}, shares not negative")
    return shares
