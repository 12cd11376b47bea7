"""The files of the page: whole, alone, and such that a strict Content-Security-Policy lets them run."""

import hashlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[4] / "consumers" / "web" / "page"
VENDOR = PAGE / "vendor"
LIBRARY = VENDOR / "lightweight-charts.standalone.production.mjs"
LIBRARY_SHA256 = "1bb1ee79f9d4dd17261b53d930f7a8995748276f80e7ba0e24412b5068062f5f"  # as npm has it: NOTICE says where
OWN = sorted(path for path in PAGE.iterdir() if path.suffix in (".html", ".js", ".css", ".svg"))
INDEX = (PAGE / "index.html").read_text()


def test_the_library_is_the_one_that_npm_has():
    """Vendored, not changed; its notice names the version that its own head names."""
    text = LIBRARY.read_bytes()
    version = re.search(rb"v(\d+\.\d+\.\d+)", text[:200])

    assert version is not None
    assert hashlib.sha256(text).hexdigest() == LIBRARY_SHA256
    assert f"Version {version[1].decode()} of the npm package" in (VENDOR / "NOTICE").read_text()
    assert "Apache License" in (VENDOR / "LICENSE").read_text()


def test_the_attribution_that_the_library_asks_for_is_on_the_page():
    """A link to TradingView beside the chart, in sight, and the text of the notice."""
    link = re.search(r'<a id="attribution" [^>]*>', INDEX)
    notice = (VENDOR / "NOTICE").read_text().splitlines()[1]

    assert link is not None
    assert 'href="https://www.tradingview.com/"' in link[0]
    assert "hidden" not in link[0]
    assert notice.partition(" https")[0] in INDEX


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_is_inline_and_nothing_comes_from_elsewhere(path):
    """No style or handler in the markup, no text made code or markup; the only foreign addresses are links to click."""
    text = path.read_text()
    links = re.sub(r'href="https://www\.tradingview\.com/"|xmlns="http://www\.w3\.org/2000/svg"', "", text)

    assert re.findall(r"https?://\S*", links) == []
    if path.suffix == ".html":
        assert re.findall(r"<style|<script>|\s(?:style|on\w+)=", text) == []
    if path.suffix == ".js":
        assert re.findall(r"innerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text) == []


def test_every_file_that_is_named_is_there():
    """What index.html refers to, and what the modules import from each other."""
    named = {PAGE / name for name in re.findall(r'(?:src|href)="/page/([^"]+)"', INDEX)}
    for path in OWN:
        named |= {PAGE / name for name in re.findall(r'from "\./([^"]+)"', path.read_text())}

    assert {path for path in named if not path.is_file()} == set()
    assert set(OWN) - named == {PAGE / "index.html"}, "a file that nobody uses"


def test_every_element_that_a_module_asks_for_is_on_the_page():
    """at("...") finds something: a renamed id breaks the page only when it runs."""
    ids = set(re.findall(r'\sid="([^"]+)"', INDEX))

    assert set(re.findall(r'\bat\("([^"]+)"\)', (PAGE / "page.js").read_text())) - ids == set()


def luminance(color):
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("name", ["text", "muted", "accent", "up", "down", "warn", "repaired", "revised"])
def test_text_can_be_read_in_both_themes(theme, name):
    """A contrast of 4.5 to 1 at least between each colour of text and the panels, as WCAG 2 AA asks."""
    block = (PAGE / "page.css").read_text().partition(f':root[data-theme="{theme}"]')[2].partition("}")[0]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    panel, raised, text = (luminance(colors[each]) for each in ("panel", "raised", name))

    for ground in (panel, raised):
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5
