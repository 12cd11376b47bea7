"""Names and values of parameters: snake_case and Python's types here, camelCase and plain text at Bybit. Pure.

Every request passes here, so that a value that cannot be sent is refused everywhere with the argument's name: NaN,
NaT, None in a list, a Series where one number is needed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, TypeAlias
from urllib.parse import quote

from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.times import to_ms
from exchanges.bybit.client.values import brief, number_text, unwrapped, whole_number
from model.symbols import canonical

Plain: TypeAlias = str | int | float | bool | Decimal | Fraction | date
Param: TypeAlias = Plain | Sequence[Any] | Mapping[str, Any] | None
"""What a parameter may be; None is left out."""

KEPT_IN_QUERY = "%=:,/@-_.~"  # a cursor comes percent-encoded and goes back as it came

PRICES = frozenset(
    "price triggerPrice takeProfit stopLoss tpLimitPrice slLimitPrice activePrice trailingStop".split()  # noqa: SIM905
)
SIZES = frozenset({"qty", "tpSize", "slSize"})
NUMBERS = PRICES | SIZES | {"buyLeverage", "sellLeverage", "leverage", "orderIv", "slippageTolerance", "amount"}
"""What Bybit wants as text that is a number."""
INTEGERS = frozenset({"limit", "positionIdx", "triggerDirection", "mode", "riskId"})
TIMES = frozenset({"start", "end", "startTime", "endTime"})


def camel(name: str) -> str:
    """buy_leverage -> buyLeverage; names without an underscore stay as they are, Bybit's own among them."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)


def camel_names(params: Mapping[str, Param]) -> dict[str, Param]:
    """Bybit's names, a symbol as Bybit writes it; None left out."""
    given: dict[str, Param] = {camel(name): value for name, value in params.items() if value is not None}
    if isinstance(symbol := given.get("symbol"), str):
        given["symbol"] = canonical(symbol)
    return given


def query_values(params: Mapping[str, Param]) -> dict[str, str]:
    """Values as they stand in the URL of a GET; raises RequestError."""
    return {
        name: quote(_query_text(name, value), safe=KEPT_IN_QUERY) for name, value in params.items() if value is not None
    }


def body_values(params: Mapping[str, Param]) -> dict[str, Any]:
    """Values as JSON takes them, nested names camelCase too; numbers that are no integers as text. RequestError."""
    return _body_values(params, "")


def _query_text(name: str, value: Any) -> str:
    items = None if name in _KINDS else _items(value)
    if items is not None:
        return ",".join(_query_scalar(name, item, f"{name}[{index}]") for index, item in enumerate(items))
    return _query_scalar(name, value, shown(name))


def _query_scalar(name: str, value: Any, label: str) -> str:
    plain = _scalar(name, value, label)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def _body_values(params: Mapping[str, Param], where: str) -> dict[str, Any]:
    return {name: _body_value(name, value, where + shown(name)) for name, value in params.items() if value is not None}


def _body_value(name: str, value: Any, label: str) -> Any:
    if name in _KINDS:
        return _scalar(name, value, label)
    if isinstance(value, Mapping):
        return _body_values(camel_names(value), f"{label}.")
    items = _items(value)
    if items is not None:
        return [_body_value(name, item, f"{label}[{index}]") for index, item in enumerate(items)]
    return _scalar(name, value, label)


def _items(value: Any) -> Iterable[Any] | None:
    """The items of a list, a set, a Series, an array of one dimension; None for what is one value."""
    is_many = isinstance(value, Sequence | Set | Iterator) and not isinstance(value, str | bytes | bytearray)
    return value if is_many or getattr(value, "ndim", 0) == 1 else None


def _scalar(name: str, given: Any, label: str) -> str | int:
    value = unwrapped(given)
    if isinstance(value, Enum):
        value = value.value
    kind = _KINDS.get(name)
    if kind is not None:
        return kind(value, label)
    if isinstance(value, date):
        return to_ms(value, label)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float | Decimal | Fraction):
        return number_text(value, label)
    raise RequestError(f"{label} is {brief(given)}: a text, a number or a time is needed")


def _quantity(value: Any, label: str) -> str:
    if isinstance(value, str) and not value.strip():
        raise RequestError(f"{label} is {brief(value)}: a number is needed")
    return number_text(value, label)


def _integer(value: Any, label: str) -> str | int:
    return value if isinstance(value, str) else whole_number(value, label)


_KINDS: Mapping[str, Callable[[Any, str], str | int]] = {
    **dict.fromkeys(NUMBERS, number_text),
    **dict.fromkeys(("qty", "buyLeverage", "sellLeverage", "amount"), _quantity),
    **dict.fromkeys(INTEGERS, _integer),
    **dict.fromkeys(TIMES, to_ms),
}


def shown(name: str) -> str:
    """A parameter's name as a caller may have written it: trigger_price (triggerPrice)."""
    snake = re.sub(r"(?<!^)([A-Z])", lambda found: f"_{found[1].lower()}", name)
    return name if snake == name else f"{snake} ({name})"
