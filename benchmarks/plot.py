"""Charts as SVG text: a row of panels with lines, and a panel of bars. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 300, 240  # of a panel
LEFT, TOP, RIGHT, BOTTOM = 48, 34, 16, 40  # its margins
BAR_WIDTH, BAR_HEIGHT, LABEL_WIDTH = 420, 22, 250
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b")
STYLE = "font-family:sans-serif;font-size:11px"

Line = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Lines by name. The x axis is logarithmic, and the y axis where asked for; else it begins at 0."""

    title: str
    lines: Mapping[str, Line]
    is_log_y: bool = False


def draw(panels: Sequence[Panel]) -> str:
    """The panels side by side."""
    body = "".join(f'<g transform="translate({i * WIDTH},0)">{_panel(panel)}</g>' for i, panel in enumerate(panels))
    return _document(WIDTH * len(panels), HEIGHT, body)


def bars(title: str, values: Mapping[str, float], unit: str) -> str:
    """Horizontal bars, logarithmic from a third of the smallest: ratios are what counts."""
    least, most = min(values.values()) / 3, max(values.values())
    parts = [_text(8, 18, title, "start", "bold")]
    for i, (name, value) in enumerate(values.items()):
        top = 30 + i * BAR_HEIGHT
        size = BAR_WIDTH * math.log(value / least) / math.log(most / least)
        parts.append(_text(LABEL_WIDTH - 6, top + 14, name, "end"))
        parts.append(f'<rect x="{LABEL_WIDTH}" y="{top}" width="{size:.0f}" height="16" fill="{COLOURS[i > 0]}"/>')
        parts.append(_text(LABEL_WIDTH + size + 5, top + 13, f"{value:,.3g} {unit}"))
    return _document(LABEL_WIDTH + BAR_WIDTH + 90, 40 + len(values) * BAR_HEIGHT, "".join(parts))


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line]
    xs, ys = sorted({x for x, _ in points}), [y for _, y in points]
    low, high = (min(ys) / 1.3, max(ys) * 1.3) if panel.is_log_y else (0.0, max(ys) * 1.15)

    def across(x: float) -> float:
        share = math.log(x / xs[0]) / math.log(xs[-1] / xs[0]) if xs[-1] > xs[0] else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(y: float) -> float:
        share = math.log(y / low) / math.log(high / low) if panel.is_log_y else (y - low) / (high - low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    parts = [_text(WIDTH / 2, 16, panel.title, "middle", "bold")]
    parts.append(_rule(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM) + _rule(LEFT, TOP, LEFT, HEIGHT - BOTTOM))
    parts += [_text(across(x), HEIGHT - BOTTOM + 15, f"{x:,.0f}", "middle") for x in xs]
    for y in _ticks(low, high, is_log=panel.is_log_y):
        parts.append(_text(LEFT - 5, down(y) + 4, f"{y:,.3g}", "end") + _rule(LEFT - 3, down(y), LEFT, down(y)))
    for i, (name, line) in enumerate(panel.lines.items()):
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line)
        colour = COLOURS[i % len(COLOURS)]
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{down(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
        if len(panel.lines) > 1:
            parts.append(_text(LEFT + 8, TOP + 4 + 13 * i, name, "start", "normal", colour))
    return "".join(parts)


def _ticks(low: float, high: float, *, is_log: bool) -> list[float]:
    if is_log:
        first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
        return [10.0**power for power in range(first, last + 1)] or [low, high]
    step = 10.0 ** math.floor(math.log10(high / 2))
    while high / step > 6:
        step *= 2
    return [step * i for i in range(int(high / step) + 1)]


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal", colour: str = "#222") -> str:
    place = f'x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.0f}" y1="{y1:.1f}" x2="{x2:.0f}" y2="{y2:.1f}" stroke="#888"/>'


def _document(width: float, height: float, body: str) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    back = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="{STYLE}">{back}{body}</svg>\n'
