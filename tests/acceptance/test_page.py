"""The page in Chromium, of a running collector on a simulated exchange that lists 1,250 symbols.

With PAGE_IMAGES=<folder> the last test keeps its pictures there: `make screenshots`.
"""

import contextlib
import os
import time
from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.acceptance.harness import CollectorProcess, Subscriber, latest
from tests.conftest import unused_port
from tests.support.programs import chromium
from tests.support.simulator import SimulatorProcess
from tests.support.waiting import wait_until

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
LISTED = 625  # in each of two markets
FIRST_PAINT_LIMIT_MS = 1000
LIMIT_S, HEALED_LIMIT_S, CUTS = 60.0, 20.0, 4
IMAGES = os.environ.get("PAGE_IMAGES")
INCOMPLETE, REPAIRED, OPEN = 1, 2, 8  # flags of a candle in the page's protocol
SCREEN, PHONE = (1440, 900), (390, 844)
OWN_LOOKS = "Canvas2D: Multiple readback operations"  # Chromium's, where a test looks at the pixels more than once

ITEMS = "(await import('/page/page.js')).chart.items"  # what the chart's series were given
LADDER_AND_TAPE = """() => {
  const many = (selector) => document.querySelectorAll(selector).length > 9;
  return many('#asks .price:not(:empty)') && many('#tape tr');
}"""
HATCHED = """async ([flag, since]) => {
  const chart = (await import('/page/page.js')).chart;
  const item = chart.items.find((each) => each.flags & flag && each.time >= since);
  if (!item) return null;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const x = chart.chart.timeScale().timeToCoordinate(item.time);
  const canvas = document.querySelector('#chart-canvas canvas');
  const column = canvas.getContext('2d').getImageData(Math.round(x * devicePixelRatio) + 2, 0, 1, 40).data;
  const pixels = Array.from({length: 40}, (_, i) => column.slice(4 * i, 4 * i + 3).join());
  const changes = pixels.filter((pixel, i) => i && pixel !== pixels[i - 1]).length;
  return {time: item.time, changes};
}"""


@pytest.fixture(scope="module")
def sim():
    args = ("--symbols", LISTED, "--illiquid", LISTED - 3, "--categories", "linear,spot", "--true-seconds")
    usual, busy = ("--rate", 150), ("--rate", 400, "--mix", "trades=4,orderbook=75,ticker=20,liquidation=1")
    with SimulatorProcess(*args, *(busy if IMAGES else usual)) as sim:
        yield sim


@pytest.fixture(scope="module")
def subscriber(valkey):
    with Subscriber(valkey.port) as subscriber:
        yield subscriber


@pytest.fixture(scope="module")
def url(sim, subscriber, valkey, tmp_path_factory):
    """The address of the page of a collector that has closed some candles."""
    port = unused_port()
    settings = {
        "LOAD_ALL_SYMBOLS": True,
        "ENABLE_SPOT_STREAM": True,
        "KLINE_INTERVALS": "1s,1m",
        "RAW_STREAMS": "trades",
    }
    settings |= {"REDIS_PORT": valkey.port, "WEBSOCKET_PORT": port, "RECONNECT_DELAY": 0.2}
    settings |= {"BYBIT_WS_URL": sim.ws_url(), "BYBIT_REST_URL": sim.rest_url}
    if IMAGES:
        settings |= {"RAW_STREAMS": "trades,orderbook,ticker,liquidations", "KLINE_INTERVALS": "1m,5m,15m,1h,4h,1d"}
        settings |= {"RECONNECT_DELAY": 1, "SOCKET_POOL_SIZE": 400}  # two outages are within the budget of connects
    with CollectorProcess(tmp_path_factory.mktemp("collector"), **settings) as collector:
        wait_until(lambda: subscriber.received["stream:bybit_klines"], 120)
        yield f"http://127.0.0.1:{port}/"
        assert collector.stop() == 0


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url):
    """An open page; in the end nothing was written to its console, and nobody but the collector was asked."""
    page = browser.new_page(viewport={"width": SCREEN[0], "height": SCREEN[1]})
    said, asked = [], []
    page.on("console", lambda message: None if message.text.startswith(OWN_LOOKS) else said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url.replace("ws://", "http://")))
    yield page
    page.close()
    assert said == []
    assert [each for each in asked if not each.startswith((url, "data:"))] == []


def wait_for(page, expression, argument=None, limit_s=LIMIT_S):
    """Wait until an expression of JavaScript is true, and return it.

    Playwright's own waiting needs eval in the page, which its Content-Security-Policy refuses.
    """
    found = []
    wait_until(lambda: found.append(page.evaluate(expression, argument)) or found[-1], limit_s, poll_s=0.05)
    return found[-1]


def cut_until_healed(page, sim):
    """Cut the connection until a second heals: one stays as it is where REST has not all its trades any more."""
    healed = f"async (time) => {ITEMS}.some((each) => each.time === time && !(each.flags & {INCOMPLETE}))"
    for _ in range(CUTS):
        since = page.evaluate(f"async () => {ITEMS}.at(-1).time")
        sim.command("rest_fault", what="http", status=500, count=None)
        try:
            sim.command("outage", s=1.5)
            hatched = wait_for(page, HATCHED, [INCOMPLETE, since])
            assert hatched["changes"] > 8, "lines of the grid and a wick change colour twice each"
        finally:
            sim.command("rest_clear")
        with contextlib.suppress(AssertionError):
            wait_for(page, healed, hatched["time"], HEALED_LIMIT_S)
            return hatched
    raise AssertionError(f"nothing healed after {CUTS} cuts")


def open_view(page, url, view):
    """Go to a view and wait for its candles."""
    page.goto(f"{url}#{view}")
    wait_for(page, f"async () => {ITEMS}.filter((each) => !(each.flags & {OPEN})).length > 2")


def newest_issue(subscriber, kline):
    """The channel's newest issue of the candle that the card beside the crosshair shows; None where there is none."""
    klines = latest(subscriber.klines())
    return klines.get(("linear", "BTCUSDT", 1000, kline["time"] * 1000))


def read_card(page):
    """What the card beside the crosshair says, by its labels."""
    return page.evaluate("""() => {
      const card = document.getElementById('card');
      const found = {time: Number(card.dataset.time), reason: card.querySelector('.reason')?.textContent || ''};
      for (const name of card.querySelectorAll('dt')) found[name.textContent] = name.nextSibling.textContent;
      return found;
    }""")


def test_last_closed_candle_equals_the_channels(page, url, subscriber):
    """To the last digit, and with the same word on whether it is complete; read by keyboard, as a user would."""
    wait_until(lambda: sum(kline["symbol"] == "BTCUSDT" for kline in subscriber.klines()) > 4)  # not one of before them
    open_view(page, url, "linear/BTCUSDT/1s")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_until(lambda: read_card(page).get("Complete") in ("yes", "no"))
    card = read_card(page)
    wait_until(lambda: newest_issue(subscriber, card))
    kline = newest_issue(subscriber, card)

    names = ("Open", "High", "Low", "Close", "Volume")
    assert [Decimal(card[name]) for name in names] == [kline[name.lower()] for name in names]
    assert (card["Complete"] == "yes", int(card["Revision"])) == (kline["complete"], kline["revision"])


@pytest.mark.timeout(400)  # several cuts where one does not heal
def test_a_cut_connection_is_hatched_and_then_heals(page, url, sim, subscriber):
    """Hatched while the exchange's REST refuses; when it answers, the same candle is mended and says how."""
    open_view(page, url, "linear/BTCUSDT/1s")
    hatched = cut_until_healed(page, sim)
    item = page.evaluate(f"async (time) => {ITEMS}.find((each) => each.time === time)", hatched["time"])
    subscriber.catch_up()
    kline = newest_issue(subscriber, item)

    assert item["flags"] & REPAIRED
    assert item["reason"]
    assert (kline["complete"], Decimal(item["texts"]["close"])) == (True, kline["close"])
    events = page.locator("#log-rows li").all_inner_texts()
    assert any("connection ended" in event for event in events)


def test_every_symbol_market_and_interval_by_keyboard(page, url):
    """Letters search and Enter chooses, [ ] and digits are intervals; the address follows and reopens the view."""
    open_view(page, url, "linear/BTCUSDT/1s")
    for key in "eth":
        page.keyboard.press(key)
    assert page.locator("#picker-list li").first.inner_text().startswith("ETHUSDT")
    page.keyboard.press("Enter")
    wait_for(page, "document.title.includes('ETHUSDT · 1s')")
    page.keyboard.press("]")
    wait_for(page, "location.hash === '#linear/ETHUSDT/1m'")
    page.keyboard.press("1")
    wait_for(page, "location.hash === '#linear/ETHUSDT/1s'")
    page.keyboard.press(".")
    wait_for(page, "location.hash === '#spot/ETHUSDT/1s'")
    page.reload()
    wait_for(page, "document.getElementById('symbol-name').textContent === 'ETHUSDT'")
    assert page.locator("#markets button[aria-pressed=true]").inner_text() == "spot"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_first_paint_with_every_symbol_listed(page, url):
    """Within a second, while 1,250 symbols come; all of them are in the search."""
    open_view(page, url, "linear/BTCUSDT/1m")
    painted_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    page.keyboard.press("/")

    assert page.locator("#picker-count").inner_text() == f"{2 * LISTED} of {2 * LISTED}"
    assert painted_ms < FIRST_PAINT_LIMIT_MS


def test_a_lost_connection_is_told_and_made_anew(page, url):
    """The page says so in its bar and title, tries again by itself, and goes on with the same view."""
    sockets = []

    def connect(socket):
        sockets.append(socket)
        socket.connect_to_server()

    page.route_web_socket("**/live", connect)
    open_view(page, url, "linear/BTCUSDT/1s")
    wait_for(page, "document.body.dataset.connection === 'live'")
    sockets[0].close(code=1001)
    wait_for(page, "document.body.dataset.connection === 'waiting' && document.title.startsWith('(no connection)')")
    assert "the collector has stopped" in page.locator("#connection-text").inner_text()
    wait_for(page, "document.body.dataset.connection === 'live'")
    wait_for(page, "document.title.includes('BTCUSDT · 1s')")
    assert len(sockets) == 2


THEMES = [("light", "light", SCREEN), ("dark", "dark", SCREEN), ("phone", "dark", PHONE)]


@pytest.mark.parametrize(("name", "scheme", "size"), THEMES)
def test_it_fits_in_both_themes_and_on_a_phone(page, url, name, scheme, size):
    """The page has the system's theme, nothing is wider than the screen, and the ladder has levels."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    open_view(page, url, "linear/BTCUSDT/1m")
    wait_for(page, LADDER_AND_TAPE)

    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.evaluate("document.documentElement.dataset.theme") == scheme


@pytest.mark.long
@pytest.mark.timeout(600)  # it waits for minutes to end
def test_pictures_of_a_repaired_minute_and_of_one_that_waits_for_repair(page, url, sim, tmp_path):
    """The pictures of README: the first outage is made good, of the second the exchange's REST knows nothing yet."""
    open_view(page, url, "linear/BTCUSDT/1m")
    wait_until(lambda: 20 < time.time() % 60 < 40, 120, poll_s=0.5)
    minute_over_an_outage(page, sim, REPAIRED)
    wait_until(lambda: 20 < time.time() % 60 < 40, 120, poll_s=0.5)
    for path in ("/v5/market/kline", "/v5/market/recent-trade"):
        sim.command("rest_fault", what="http", status=500, count=None, path=path)
    for _ in range(2):
        minute_over_an_outage(page, sim, INCOMPLETE)
        wait_until(lambda: 20 < time.time() % 60 < 40, 120, poll_s=0.5)
    for name, scheme, size in THEMES:
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme=scheme)
        page.evaluate("async () => (await import('/page/page.js')).chart.showNewest()")
        page.keyboard.press("+")
        page.keyboard.press("+")
        wait_for(page, LADDER_AND_TAPE)
        wait_until(lambda: page.locator("[data-key=ready] dd").inner_text() == "Ready", poll_s=0.5)
        ((Path(IMAGES) if IMAGES else tmp_path) / f"page-{name}.png").write_bytes(page.screenshot())
    sim.command("rest_clear")


def minute_over_an_outage(page, sim, flag):
    """Cut every connection for four seconds, and wait until the candle of this minute has closed with a flag."""
    start = int(time.time() // 60) * 60
    sim.command("outage", s=4)
    found = f"async () => {ITEMS}.some((each) => each.time === {start} && (each.flags & {flag | OPEN}) === {flag})"
    wait_until(lambda: page.evaluate(found), 150, poll_s=0.5)
