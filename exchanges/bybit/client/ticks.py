"""Prices that fit the instrument's steps: `str(current_price * 0.99)` is none that Bybit takes.

Steps are asked for once per symbol and kept by the client. A price that is no number goes out as it is: the exchange
says best what is wrong with it.
"""

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation

import structlog

from exchanges.bybit.client.engine import Engine
from exchanges.bybit.client.errors import BybitError
from exchanges.bybit.client.names import Param, plain_number
from exchanges.bybit.client.steps import Steps

log = structlog.get_logger()


def stepped_price(api: Engine, params: Mapping[str, Param]) -> Steps[Param]:
    """The price of an order, a buy's rounded down and a sell's up to the instrument's next step."""
    price = params.get("price")
    if price is None or not api.round_prices:
        return price
    number = _decimal(price)
    if number is None:
        return price
    tick = yield from _tick(api, str(params["category"]), str(params["symbol"]))
    if not tick or number % tick == 0:
        return price
    rounding = ROUND_FLOOR if params.get("side") == "Buy" else ROUND_CEILING
    stepped = (number / tick).to_integral_value(rounding) * tick
    return plain_number(stepped) if stepped > 0 else price


def _decimal(price: Param) -> Decimal | None:
    try:
        number = Decimal(str(price))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _tick(api: Engine, category: str, symbol: str) -> Steps[Decimal | None]:
    """None where it cannot be known now: the order goes out as it is."""
    key = (category, symbol)
    if key not in api.ticks:
        try:
            answer = yield from api.ask("get_instruments_info", {"category": category, "symbol": symbol})
            api.ticks[key] = Decimal(answer.result["list"][0]["priceFilter"]["tickSize"])
        except (BybitError, LookupError, TypeError, InvalidOperation) as error:
            log.info("bybit_tick_unknown", category=category, symbol=symbol, error=str(error))
            return None
    return api.ticks[key]
