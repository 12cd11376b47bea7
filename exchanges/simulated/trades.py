"""One trade of the simulated market, and what an exchange makes of its ids and odd prints. Pure."""

from collections.abc import Callable
from typing import NamedTuple


class Trade(NamedTuple):
    """One match. `side` is the taker's; `mark` "" or the text of a Mark; `number` the id as a number.

    `size` is as the exchange writes it (contracts where it has contracts), `lots` and `ticks` the same as whole steps.
    """

    event_ms: int
    price: str
    size: str
    side: str
    id: str
    seq: int
    direction: str
    mark: str
    number: int
    ticks: int
    lots: int
    is_counted: bool


class Mark(NamedTuple):
    """A kind of odd print: its share of all trades, and whether it counts in the exchange's candles.

    `is_blank`: a placeholder without price and size, which only takes an id.
    """

    text: str
    share: float
    is_counted: bool = True
    is_blank: bool = False


class TradeIds(NamedTuple):
    """How one symbol's trades are numbered: the number before the first, and the id of a number."""

    first: int
    text: Callable[[int], str]


class Liquidation(NamedTuple):
    """One liquidated position, at its bankruptcy price."""

    is_long: bool
    ticks: int
    lots: int
