"""What all models have in common: Bybit's names, "" as None, unknown fields kept, numbers by choice. Pure."""

from collections.abc import Mapping
from typing import Any, Generic, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from exchanges.bybit.client.names import camel
from exchanges.bybit.client.steps import N


class Model(BaseModel, Generic[N]):
    """One row. Frozen; `from_api_response(row)` or `model_validate(row)` builds it."""

    model_config = ConfigDict(alias_generator=camel, populate_by_name=True, extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, row: Any) -> Any:
        return {name: None if value == "" else value for name, value in row.items()} if isinstance(row, dict) else row

    @classmethod
    def from_api_response(cls, row: Any) -> Self:
        """Build it from a row as Bybit sent it; raises pydantic.ValidationError."""
        return cls.model_validate(row)


def also(*names: str) -> Any:
    """A field that REST and the streams call by different names."""
    return Field(default=None, validation_alias=AliasChoices(*names))


def named_rows(message: Mapping[str, Any]) -> list[Any]:
    """The rows of a stream message: its data, as a list."""
    data = message.get("data", [])
    return data if isinstance(data, list) else [data]
