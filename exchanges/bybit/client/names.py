"""Names and values of parameters: snake_case and Python's types here, camelCase and plain text at Bybit. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from urllib.parse import quote

from model.symbols import canonical

Plain: TypeAlias = str | int | float | bool | Decimal
Param: TypeAlias = Plain | Sequence[Any] | Mapping[str, Any] | None
"""What a parameter may be; None is left out."""

KEPT_IN_QUERY = "%=:,/@-_.~"  # a cursor comes percent-encoded and goes back as it came


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
    """Values as they stand in the URL of a GET."""
    return {name: quote(_query_text(value), safe=KEPT_IN_QUERY) for name, value in params.items() if value is not None}


def body_values(params: Mapping[str, Param]) -> dict[str, Any]:
    """Values as JSON takes them, nested names camelCase too; numbers that are no integers as text, no exponent."""
    return {name: _body_value(value) for name, value in params.items() if value is not None}


def plain_number(value: float | Decimal) -> str:
    """A number as Bybit reads it: never 1e-05."""
    return format(Decimal(repr(value)) if isinstance(value, float) else value, "f")


def _query_text(value: Param) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float | Decimal):
        return plain_number(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(_query_text(item) for item in value)
    return str(value)


def _body_value(value: Any) -> Any:
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, float | Decimal):
        return plain_number(value)
    if isinstance(value, Mapping):
        return body_values(camel_names(value))
    if isinstance(value, Sequence):
        return [_body_value(item) for item in value]
    return value
