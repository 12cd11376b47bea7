"""Klines as a DataFrame of pandas. Imported only where pandas is there."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from .records import need


class KlineFrame(pd.DataFrame):
    """A DataFrame of pandas that becomes one of polars, or a table of Arrow; what is made of it is a plain one."""

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def to_pandas(self) -> pd.DataFrame:
        """Return it as a plain DataFrame."""
        return pd.DataFrame(self)

    def to_arrow(self) -> Any:
        """Return it as a table of Arrow."""
        return need("pyarrow", "A table of Arrow").Table.from_pandas(self, preserve_index=False)

    def to_polars(self) -> Any:
        """Return it as a DataFrame of polars."""
        return need("polars", "A DataFrame of polars").from_arrow(self.to_arrow())


def times(milliseconds: Sequence[int]) -> pd.DatetimeIndex:
    """Return times in UTC, of milliseconds since the epoch."""
    return pd.DatetimeIndex(pd.Series(milliseconds, dtype="int64").astype("datetime64[ms]")).tz_localize("UTC")
