"""Checks of an order: the instrument's steps and bounds, and Bybit's messages for a violation.

Pure. Spot has codes of its own (BYBIT_V5.md section 9).
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from ..instruments import Instrument
from .listing import instrument_info

LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
TIMES_IN_FORCE = ("GTC", "IOC", "FOK", "PostOnly", "RPI")
PARAMETER_ERROR = 10001
FAR_UP, FAR_DOWN = Decimal("1.5"), Decimal("0.5")  # a buyer may not bid more, a seller not ask less, of the last price


class OrderError(Exception):
    """A refusal with Bybit's code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one instrument."""

    tick: Decimal
    step: Decimal
    least: Decimal
    most: Decimal
    most_market: Decimal
    least_value: Decimal


@lru_cache(maxsize=4096)
def rules_of(instrument: Instrument) -> Rules:
    """The rules of an instrument, read from its row of instruments-info, so that both always agree."""
    lots = instrument_info(instrument, 0)["lotSizeFilter"]
    return Rules(
        instrument.tick,
        Decimal(lots.get("qtyStep") or lots["basePrecision"]),
        Decimal(lots["minOrderQty"]),
        Decimal(lots["maxOrderQty"]),
        Decimal(lots.get("maxMktOrderQty") or lots.get("maxMarketOrderQty") or lots["maxOrderQty"]),
        Decimal(lots.get("minNotionalValue") or lots.get("minOrderAmt") or 0),
    )


def number(body: dict[str, Any], name: str) -> Decimal:
    """Read a positive number, which must be text; OrderError otherwise."""
    value = body.get(name)
    try:
        found = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or found <= 0:
        raise OrderError(PARAMETER_ERROR, f"{name.capitalize()} invalid")
    return found


def chosen(body: dict[str, Any], name: str, allowed: tuple[str, ...], default: str = "") -> str:
    """Read one of `allowed`."""
    value = body.get(name, default)
    if value not in allowed:
        raise OrderError(PARAMETER_ERROR, f"{name[0].upper()}{name[1:]} invalid")
    return str(value)


def link_id(body: dict[str, Any]) -> str:
    """Read an orderLinkId: empty, or up to 36 characters."""
    value = str(body.get("orderLinkId") or "")
    if value and not LINK_ID.fullmatch(value):
        raise OrderError(PARAMETER_ERROR, "params error: orderLinkId invalid")
    return value


def _refusal(is_spot: bool, of_spot: tuple[int, str], text: str) -> OrderError:
    return OrderError(*of_spot) if is_spot else OrderError(PARAMETER_ERROR, text)


def check_qty(instrument: Instrument, qty: Decimal, is_market: bool) -> None:
    """Check a quantity: on the step, neither too small nor too large."""
    rules, is_spot = rules_of(instrument), instrument.category == "spot"
    if qty % rules.step:
        raise _refusal(is_spot, (170137, "Order quantity has too many decimals."), "Qty invalid")
    if qty < rules.least:
        text = "The number of contracts exceeds minimum limit allowed"
        raise _refusal(is_spot, (170136, "Order quantity exceeded lower limit."), text)
    if qty > (rules.most_market if is_market else rules.most):
        text = "The number of contracts exceeds maximum limit allowed: too large"
        raise _refusal(is_spot, (170135, "Order quantity exceeded upper limit."), text)


def check_price(instrument: Instrument, side: str, price: Decimal, last: Decimal) -> None:
    """Check a price: on the tick, and not absurd: no buyer far above the market, no seller far below."""
    is_spot = instrument.category == "spot"
    if price % instrument.tick:
        raise _refusal(is_spot, (170134, "Order price has too many decimals."), "Price invalid")
    if side == "Buy" and price > last * FAR_UP:
        raise OrderError(170132 if is_spot else 110003, "Order price exceeds the allowable range.")
    if side == "Sell" and price < last * FAR_DOWN:
        raise OrderError(170133 if is_spot else 110003, "Order price exceeds the allowable range.")


def check_value(instrument: Instrument, value: Decimal) -> None:
    """Check an order's value: at least the instrument's minimum."""
    least = rules_of(instrument).least_value
    if instrument.category == "inverse" or value >= least:
        return
    if instrument.category == "spot":
        raise OrderError(170140, "Order value exceeded lower limit.")
    raise OrderError(110094, f"Order does not meet minimum order value {least}{instrument.quote}")
