"""The watch: which sentence when, what is written as a line, and the table."""

import contextlib
import os
import time
from decimal import Decimal

import pytest

from app.watch.choice import Choice, SymbolFilter, channels_of
from app.watch.command import LineDisplay, Sentences, Watch, shortest_interval
from app.watch.readers import Readers
from app.watch.table import PriceTable
from conf.settings import Settings, load_settings
from model.envelope import Envelope
from model.intervals import parse_interval
from tests.support.klines import kline

NOW_MS = 1_767_716_940_000  # the beginning of a minute


class Source:
    """A subscription whose state and messages a test sets."""

    def __init__(self):
        self.is_up, self.problem, self.reads = False, "", []

    def read(self, _limit_s):
        return self.reads.pop(0) if self.reads else []


class Shown:
    """A display that keeps what it is given."""

    def __init__(self):
        self.items, self.notices = [], []

    def add(self, items):
        self.items += items

    def notice(self, _state, text):
        self.notices.append(text)

    def tick(self):
        return True

    def close(self):
        pass


PRICES = Choice("prices")


def watching(choice=PRICES, **settings):
    """A watch of a source and a display."""
    read = load_settings(environ=settings, env_file=None)
    choice = Choice(choice.view, choice.kind, choice.names, markets=read.markets)
    channels = channels_of(choice, read)
    source, shown = Source(), Shown()
    return Watch(source, Readers(choice, channels, read), shown, Sentences(choice, channels, read)), source, shown


def test_an_outage_is_told_once_and_so_is_its_end():
    """Not at every attempt."""
    watch, source, shown = watching(REDIS_URL="redis://user:secret@10.0.0.9:7000/1")
    source.problem = "Connection refused."
    for _ in range(5):
        watch.step(0.0)
    source.is_up, source.problem = True, ""
    for _ in range(5):
        watch.step(0.0)
    waiting, again = shown.notices
    assert waiting.startswith("Waiting for Redis at 10.0.0.9:7000 (a collector starts and ends its embedded one): ")
    assert waiting.endswith("Connection refused. `python main.py doctor` looks for what is wrong.")
    assert again == "Redis at 10.0.0.9:7000 is there again."
    assert "secret" not in waiting


def test_an_outage_whose_end_brings_messages_has_an_end_too():
    """They may come with the confirmation."""
    watch, source, shown = watching()
    source.problem = "gone"
    watch.step(0.0)
    source.is_up, source.problem, source.reads = True, "", [[("stream:bybit_trades", trade("BTCUSDT"))]]
    watch.step(0.0)
    assert shown.notices[1:] == ["Redis at localhost:6379 is there again."]


def test_silence_says_what_it_may_mean(monkeypatch):
    """And the next message that it is over."""
    watch, source, shown = watching()
    source.is_up = True
    clock_s = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock_s[0])
    watch.step(0.0)
    clock_s[0] += 4.0
    watch.step(0.0)
    assert shown.notices == ["Listening to stream:bybit_trades on Redis at localhost:6379."]
    clock_s[0] += 2.0
    watch.step(0.0)
    assert shown.notices[1].startswith("Nothing is published on stream:bybit_trades at Redis at localhost:6379: is the")
    source.reads = [[("stream:bybit_trades", trade("BTCUSDT"))]]
    watch.step(0.0)
    assert shown.notices[2:] == ["Redis at localhost:6379: messages come again."]
    assert len(shown.items) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("BTCUSD", "Nothing of BTCUSD comes on stream:bybit_trades: there are BTCUSDT, ETHUSDT."),
        ("ETH", "Nothing new of ETH on stream:bybit_trades; others come."),
    ],
)
def test_a_symbol_that_does_not_come_is_told_from_one_that_is_quiet(name, sentence, monkeypatch):
    """A spelling mistake is answered with what there is."""
    watch, source, shown = watching(Choice("prices", names=(name,)))
    source.is_up = True
    clock_s = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: clock_s[0])
    other = ("stream:bybit_trades", trade("BTCUSDT"))
    source.reads = [[other, ("stream:bybit_trades", trade("ETHUSDT"))], [other], [other], [other]]
    for _ in range(4):
        watch.step(0.0)
        clock_s[0] += 3.0
    assert shown.notices[-1] == sentence


@pytest.mark.parametrize(
    ("choice", "settings", "sentence"),
    [
        (Choice("raw", "orderbook"), {"RAW_STREAMS": "trades"}, "RAW_STREAMS does not name orderbook"),
        (Choice("klines"), {"ENABLED_CONSUMERS": "file"}, "ENABLED_CONSUMERS does not name redis"),
    ],
)
def test_settings_that_publish_nothing_are_named(choice, settings, sentence):
    """Instead of a guess."""
    read = load_settings(environ=settings, env_file=None)
    channels = {"stream:bybit_orderbook": ("orderbook", "linear")}
    assert sentence in Sentences(choice, channels, read).silent()


def test_closed_klines_are_waited_for_until_they_close():
    """A minute of silence is no fault: the sentence says when the next comes."""
    read = load_settings(environ={"KLINE_INTERVALS": "1M,15m,5m"}, env_file=None)
    sentences = Sentences(Choice("klines"), {"stream:bybit_klines": ("klines", "")}, read)
    assert sentences.silent_s == pytest.approx(305)
    assert "; the next 5m closes at 20" in sentences.up(was_away=False)
    assert shortest_interval(Choice(steps=frozenset({0})), read).name == "1M"


@pytest.mark.parametrize(
    ("password", "problem", "cure"),
    [
        ("", "NOAUTH Authentication required.", "it asks for a password"),
        ("secret", "WRONGPASS invalid username-password pair or user is disabled.", "password or the user is wrong"),
        ("secret", "AUTH <password> called without any password configured for the default user.", "has no password"),
        ("secret", "No permissions to access a channel", "give its user the channels"),
    ],
)
def test_a_refusal_says_what_to_do(password, problem, cure):
    """And not the password."""
    read = load_settings(environ={"REDIS_PASSWORD": password} if password else {}, env_file=None)
    sentence = Sentences(Choice("klines"), {}, read).refused(problem)
    assert cure in sentence
    assert "secret" not in sentence


def trade(symbol: str, price: str = "92846.10") -> bytes:
    """A message of Bybit's."""
    return (
        b'{"topic":"publicTrade.%b","type":"snapshot","ts":1,"data":[{"T":%d,"s":"%b","S":"Buy","v":"1","p":"%b",'
        b'"L":"PlusTick","i":"a-1","BT":false,"seq":1}]}'
    ) % (symbol.encode(), NOW_MS, symbol.encode(), price.encode())


def prices(**of: str) -> Envelope:
    """An envelope of prices."""
    return Envelope("bybit", "linear", "price", tuple({"symbol": s, "price": Decimal(p)} for s, p in of.items()))


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for each in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(each)


def test_prices_are_lines_as_often_as_can_be_read(pipe, monkeypatch):
    """The newest of each symbol, and only where it changed; --count counts them."""
    reader, writer = pipe
    choice = Choice("prices", markets=("linear",), count=3)
    display = LineDisplay(choice, Readers(choice, {}, Settings()), writer, names_market=False)
    clock_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock_s[0])
    display.add([prices(BTCUSDT="1"), prices(BTCUSDT="2", ETHUSDT="7")])
    assert display.tick()
    display.add([prices(BTCUSDT="3"), prices(ETHUSDT="7")])
    assert display.tick()
    clock_s[0] += 1.0
    display.add([prices(BTCUSDT="4")])
    assert not display.tick()
    lines = os.read(reader, 4096).decode().splitlines()
    assert [line.split()[1:] for line in lines] == [["BTCUSDT", "2"], ["ETHUSDT", "7"], ["BTCUSDT", "4"]]


def test_a_pipe_that_nobody_reads_ends_the_watch(pipe):
    """Also while nothing is to be written."""
    reader, writer = pipe
    choice = Choice("klines", markets=("linear",))
    display = LineDisplay(choice, Readers(choice, {}, Settings()), writer, names_market=False)
    assert display.tick()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        display.tick()


def rows(table: PriceTable, now_ms: float = NOW_MS, size: tuple[int, int] = (100, 30), notice: str = "") -> list[str]:
    return table.lines(now_ms, now_ms / 1000, size, notice)


def test_the_table_shows_prices_and_open_candles_as_they_move():
    """The open of a candle is the last price before it; of the first, what was seen here is marked."""
    table = PriceTable(parse_interval("1m"), "bybit linear", [SymbolFilter(("BTC",))])
    table.add(prices(AAVEUSDT="5", BTCUSDT="100"), NOW_MS - 5_000)
    table.add(prices(BTCUSDT="104"), NOW_MS - 4_000)
    row = next(line for line in rows(table) if line.startswith("BTCUSDT"))
    assert row.split() == ["BTCUSDT", "104", "+4.00", "%", "~100", "104", "100", "4.0"]
    table.add(prices(BTCUSDT="102"), NOW_MS + 1_000)
    table.add(prices(BTCUSDT="101"), NOW_MS + 2_000)
    lines = rows(table, NOW_MS + 2_000)
    names = [line.split()[0] for line in lines if "USDT" in line]
    assert names == ["BTCUSDT", "AAVEUSDT"]
    assert next(line for line in lines if line.startswith("BTCUSDT")).split()[4:] == ["104", "104", "101", "0.0"]


def test_prices_of_a_row_have_the_same_decimals():
    """Digits stand below each other; a change too small to be seen has no minus."""
    table = PriceTable(parse_interval("1m"), "bybit linear")
    for price in ("100.25", "100.249", "100"):
        table.add(prices(BTCUSDT=price), NOW_MS)
    row = next(line for line in rows(table) if line.startswith("BTCUSDT"))
    assert row.split() == ["BTCUSDT", "100.000", "-0.25", "%", "~100.250", "100.250", "100.000", "0.0"]
    table.add(prices(BTCUSDT="100.2499"), NOW_MS)
    assert "+0.00 %" in next(line for line in rows(table) if line.startswith("BTCUSDT"))


def test_the_table_shows_the_last_closed_candles_and_its_notice():
    """Newest first, in what the terminal has of lines and columns."""
    table = PriceTable(parse_interval("1m"), "bybit linear")
    table.add(prices(BTCUSDT="100"), NOW_MS)
    table.add(Envelope("bybit", "linear", "klines", tuple(kline(number) for number in range(50))), NOW_MS)
    lines = rows(
        table, size=(60, 12), notice="Waiting for Redis at localhost:6379: Connection refused. And so on and on."
    )
    assert len(lines) == 12
    assert max(map(len, lines)) <= 60
    assert lines[1].startswith("Waiting for Redis")
    newest = lines.index("closed candles, newest first") + 1
    assert lines[newest] > lines[newest + 1]


def test_more_symbols_than_lines_are_counted():
    """A whole market has 750."""
    table = PriceTable(parse_interval("1m"), "bybit linear", names_market=True)
    table.add(prices(**{f"C{number:03}USDT": "1" for number in range(750)}), NOW_MS)
    lines = rows(table)
    assert any(line.startswith("... ") and line.endswith(" more") for line in lines)
    assert "C000USDT linear" in "\n".join(lines)
