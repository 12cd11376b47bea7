"""Charts: fewer candles for long spans, and no text that is taken for markup."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from exchanges.bybit.client.data_frames import from_rows
from exchanges.bybit.client.errors import RequestError
from exchanges.bybit.client.plot import chart_html, condensed, write_chart


def frame(count: int) -> pd.DataFrame:
    """Minutes whose open is their number."""
    rows = [[str(60_000 * n), str(n), str(n + 2), str(n - 1), str(n + 1), "1", "10"] for n in range(count)]
    return from_rows(rows).frame()


def test_long_spans_are_rolled_up() -> None:
    """First open, last close, extremes, sums; nothing is left out."""
    bars = condensed(frame(1001), 100)
    assert len(bars) <= 100
    assert bars["volume"].sum() == 1001
    first = bars.iloc[0]
    assert (first["open"], first["high"], first["low"], first["close"], first["turnover"]) == (0, 12, -1, 11, 110)
    assert bars.index[1] == frame(12).index[11]


def test_short_spans_stay() -> None:
    """Candle by candle."""
    assert condensed(frame(5)).equals(frame(5))


def test_a_title_is_text() -> None:
    """Whatever its text."""
    page = chart_html(frame(3), "<script>alert(1)</script>")
    assert "<script>" not in page


def test_a_market_that_stood_still_can_be_drawn() -> None:
    """One price, no volume: no division by zero."""
    still = frame(3)
    still.loc[:, :] = np.array([5.0, 5, 5, 5, 0, 0])
    assert "nan" not in chart_html(still, "still")


def test_nothing_cannot_be_drawn(tmp_path: Path) -> None:
    """And leaves no file."""
    with pytest.raises(RequestError, match="no candles"):
        write_chart(frame(0), "nothing", tmp_path / "x.html")
    assert not list(tmp_path.iterdir())
