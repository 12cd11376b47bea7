"""A candle chart in one file: HTML with the drawing inside, or PNG by matplotlib where that is installed.

Pure but for the file. Long spans are drawn with fewer, longer candles: a screen shows no more.
"""

import html
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from exchanges.bybit.client.errors import MissingLibraryError, RequestError
from model.files import atomic_write

MATPLOTLIB = "a PNG needs matplotlib: python -m pip install matplotlib==3.11.2 (or choose an .html file)"
BARS_MOST = 600  # 2 points and a gap each at the width below
WIDTH, HEIGHT, LEFT, TOP, BOTTOM, VOLUME = 1280, 640, 80, 40, 40, 110  # points of the drawing
LINES = 8  # of the price axis
DAYS = 8  # names on the time axis
UP, DOWN = "#1a9850", "#d73027"
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ margin: 0; background: #fff }} svg {{ width: 100%; height: auto; font: 12px sans-serif }}</style></head>
<body><svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}">
<text x="{left}" y="24" font-size="16">{title}</text>
{shapes}
</svg></body></html>
"""


def write_chart(frame: pd.DataFrame, title: str, path: Path) -> None:
    """Draw candles to `path` (.html or .png), whole or not at all."""
    if frame.empty:
        raise RequestError("nothing to draw: there are no candles")
    bars = condensed(frame)
    title = f"{title}, {frame.index[0]:%Y-%m-%d %H:%M} to {frame.index[-1]:%Y-%m-%d %H:%M} UTC"
    if path.suffix.lower() == ".png":
        atomic_write(path, lambda temp: _png(bars, title, temp))
    else:
        atomic_write(path, lambda temp: temp.write_text(chart_html(bars, title), encoding="utf-8"))


def condensed(frame: pd.DataFrame, most: int = BARS_MOST) -> pd.DataFrame:
    """At most so many candles: neighbours rolled up, sums and extremes kept."""
    size = -(-len(frame) // most)
    if size <= 1:
        return frame
    groups = np.arange(len(frame)) // size
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum", "turnover": "sum"}
    bars = frame.groupby(groups).agg(rules)
    bars.index = frame.index[::size]
    return bars


def chart_html(bars: pd.DataFrame, title: str) -> str:
    """The page as text."""
    low, high = float(bars["low"].min()), float(bars["high"].max())
    step = (WIDTH - LEFT - 20) / len(bars)
    width, base = 0.7 * step, HEIGHT - BOTTOM
    per_price = (base - TOP - VOLUME) / ((high - low) or 1.0)
    per_volume = (VOLUME - 20) / (float(bars["volume"].max()) or 1.0)
    shapes = []
    for price in np.linspace(low, high, LINES):
        y = TOP + per_price * (high - price)
        shapes.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        shapes.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{price:.6g}</text>')
    for number in range(0, len(bars), max(1, len(bars) // DAYS)):
        x, text = LEFT + step * (number + 0.5), f"{bars.index[number]:%Y-%m-%d %H:%M}"
        shapes.append(f'<text x="{x:.1f}" y="{HEIGHT - 14}" text-anchor="middle">{text}</text>')
    ys = TOP + per_price * (high - bars[["open", "high", "low", "close"]])
    tall = per_volume * bars["volume"]
    for number, (begin, top, bottom, end, bar) in enumerate(ys.assign(bar=tall).itertuples(index=False)):
        x = LEFT + step * (number + 0.5)
        left = f'x="{x - width / 2:.1f}" width="{width:.1f}"'
        shapes.append(
            f'<g fill="{UP if end <= begin else DOWN}" stroke="none">'
            f'<rect x="{x - 0.5:.1f}" y="{top:.1f}" width="1" height="{bottom - top:.1f}"/>'
            f'<rect {left} y="{min(begin, end):.1f}" height="{max(abs(begin - end), 1):.1f}"/>'
            f'<rect {left} y="{base - bar:.1f}" height="{bar:.1f}" opacity="0.4"/></g>'
        )
    return PAGE.format(title=html.escape(title), width=WIDTH, height=HEIGHT, left=LEFT, shapes="\n".join(shapes))


def _png(bars: pd.DataFrame, title: str, path: Path) -> None:
    try:
        drawing: Any = importlib.import_module("matplotlib.figure")  # so that type checkers can do without it
    except ModuleNotFoundError as error:
        raise MissingLibraryError(MATPLOTLIB) from error
    figure = drawing.Figure(figsize=(12.8, 6.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    x = np.arange(len(bars))
    colours = np.where(bars["close"] >= bars["open"], UP, DOWN).tolist()
    axes.vlines(x, bars["low"], bars["high"], colors=colours, linewidth=0.8)
    tall = (bars["close"] - bars["open"]).abs()
    axes.bar(x, tall, 0.7, bars[["open", "close"]].min(axis=1), color=colours)
    below.bar(x, bars["volume"], 0.7, color=colours, alpha=0.4)
    shown = list(range(0, len(bars), max(1, len(bars) // DAYS)))
    below.set_xticks(shown, [f"{bars.index[number]:%Y-%m-%d}" for number in shown])
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100, format="png")
