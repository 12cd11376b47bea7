"""`main.py watch`: what a running collector publishes, in any terminal, as lines or as a table that is redrawn.

Main thread; starts none, and takes nothing of a collector but its settings. Sentences about the connection go to
stderr, or stand in the table; each is written once, when something changes.
"""

import argparse
import contextlib
import difflib
import errno
import os
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

from app.exits import Exit
from app.startup import STOP_SIGNALS, is_ignored_hangup
from app.watch.choice import TABLE, VIEWS, Channels, Choice, SymbolFilter, channels_of, choice_of
from app.watch.readers import Item, Readers, lines_of
from app.watch.table import PriceTable
from conf.settings import Settings
from consumers.console.terminal import ENTER, LEAVE, drawing, size_of, write_all
from consumers.redis.connection import remedy_of
from consumers.redis.subscription import Message, Subscription, SubscriptionRefusedError, address_of
from exchanges.registry import VENUES
from model.clock import iso_ms, now_ms
from model.envelope import Envelope
from model.intervals import LONGEST_MONTH_MS, Interval, parse_interval

READ_S = 0.1  # messages are read for so long at once
DRAW_S = 0.25  # between two drawings of the table
PRICE_EVERY_S = 0.5  # a line per symbol and so long: more cannot be read
SILENT_S = 5.0  # without anything to show: why that may be is written
CLOSE_GRACE_S = 5.0  # closed klines are there so long after their end
STDOUT = 1
READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal
SYMBOLS_NAMED = 8  # of those that there are, in a sentence
DOCTOR = "`python main.py doctor` looks for what is wrong"


class Source(Protocol):
    """The port of a subscription: consumers.redis.subscription.Subscription."""

    problem: str

    @property
    def is_up(self) -> bool:
        """Whether all channels are subscribed."""

    def read(self, limit_s: float) -> list[Message]:
        """Return what arrives within so many seconds; raises SubscriptionRefusedError."""


class Display(Protocol):
    """The port of what is shown on stdout. Raises OSError where that cannot be written."""

    def add(self, items: Iterable[Item]) -> None:
        """Take what is to be shown."""

    def notice(self, state: str, text: str) -> None:
        """Show the sentence, "" for none, of a new state: away, up, silent, or shown, when all is well."""

    def tick(self) -> bool:
        """Show what is due; False once all that was asked for is shown."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def run_watch(asked: argparse.Namespace, settings: Settings, descriptor: int = STDOUT) -> int:
    """Show what is published until Ctrl-C, SIGTERM, a closed pipe or --count; returns the exit code.

    2 where the arguments ask for what there is not, or Redis refuses the password; 3 where stdout takes nothing.
    """
    try:
        choice = choice_of(asked, settings, VENUES[settings.exchange].markets)
        channels = channels_of(choice, settings)
    except ValueError as error:
        sys.stderr.write(f"watch: {error}\n")
        return Exit.SETTINGS
    sentences = Sentences(choice, channels, settings)
    code, problem = _watch(choice, channels, settings, sentences, descriptor)
    sys.stderr.write(f"{problem}\n" if problem else "")
    return int(code)


def _watch(
    choice: Choice, channels: Channels, settings: Settings, sentences: "Sentences", descriptor: int
) -> tuple[Exit, str]:
    """Show until the end; the exit code, and a sentence where something is wrong."""
    readers = Readers(choice, channels, settings)
    source = Subscription(settings.redis_url, channels, is_cluster=settings.redis_cluster != "off")
    display: Display | None = None
    caught = [each for each in STOP_SIGNALS if not is_ignored_hangup(each)]
    before = {each: signal.getsignal(each) for each in caught}
    try:
        for each in caught:
            signal.signal(each, _interrupt)
        display = display_of(choice, settings, readers, sentences, descriptor)
        Watch(source, readers, display, sentences).run()
    except KeyboardInterrupt:
        pass
    except SubscriptionRefusedError as error:
        return Exit.SETTINGS, sentences.refused(str(error))
    except OSError as error:
        if error.errno not in READER_GONE:
            return Exit.OUTPUT_UNREACHABLE, f"watch: what it shows cannot be written: {error}"
    finally:
        for each in caught:
            signal.signal(each, signal.SIG_IGN)
        source.close()
        if display:
            display.close()
        for each, handler in before.items():
            signal.signal(each, handler)
    return Exit.ASKED, ""


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class Watch:
    """The reading of a subscription into a display, with a sentence whenever its state changes."""

    def __init__(self, source: Source, readers: Readers, display: Display, sentences: "Sentences") -> None:
        self._source, self._readers, self._display, self._sentences = source, readers, display, sentences
        self._shown_s = self._came_s = time.monotonic()
        self._state = ""

    def run(self) -> None:
        """Run until all that was asked for is shown; raises what `Subscription.read` and the display do."""
        while self._display.tick():
            self.step()

    def step(self, limit_s: float = READ_S) -> None:
        """Read once, show that, and write a sentence where the state has changed."""
        by_channel: dict[str, list[bytes]] = defaultdict(list)
        for channel, payload in self._source.read(limit_s):
            by_channel[channel].append(payload)
            self._came_s = time.monotonic()
        items = [item for channel, payloads in by_channel.items() for item in self._readers.read(channel, payloads)]
        self._notice(has_items=bool(items), now_s=time.monotonic())
        self._display.add(items)

    def _notice(self, *, has_items: bool, now_s: float) -> None:
        if not self._source.is_up:
            self._shown_s = now_s
            if self._source.problem:
                self._enter("away", self._sentences.away(self._source.problem))
        elif has_items:
            self._shown_s = now_s
            self._enter("shown", self._sentences.back(self._state))
        elif self._state in ("", "away"):
            self._shown_s = now_s
            self._enter("up", self._sentences.up(was_away=self._state == "away"))
        elif now_s - self._shown_s > self._sentences.silent_s:
            comes = now_s - self._came_s < SILENT_S
            self._enter("silent", self._sentences.unseen(self._readers) if comes else self._sentences.silent())

    def _enter(self, state: str, text: str) -> None:
        if state != self._state:
            self._state = state
            self._display.notice(state, text)


class Sentences:
    """The sentences about the state of a watch."""

    def __init__(self, choice: Choice, channels: Channels, settings: Settings) -> None:
        self._choice, self._settings = choice, settings
        self.where = f"Redis at {address_of(settings.redis_url)}"
        self.channels = ", ".join(channels)
        self.interval = shortest_interval(choice, settings)

    @property
    def silent_s(self) -> float:
        """How long nothing to show is no wonder."""
        if self._choice.view == "klines":
            return (self.interval.step_ms or LONGEST_MONTH_MS) / 1000 + CLOSE_GRACE_S
        return float("inf") if self._choice.view == "status" else SILENT_S

    def up(self, *, was_away: bool) -> str:
        """Return that the channels are subscribed, and what is to be expected."""
        begin = f"{self.where} is there again" if was_away else f"Listening to {self.channels} on {self.where}"
        if self._choice.view == "klines":
            start_ms = self.interval.window_start(now_ms())
            return f"{begin}; the next {self.interval.name} closes at {iso_ms(self.interval.window_end(start_ms))}."
        if self._choice.view == "status":
            return f"{begin}; nothing comes while nothing changes."
        return f"{begin}."

    def back(self, state: str) -> str:
        """Return that there is something to show again after a state; "" where that needs no sentence."""
        if state == "away":
            return f"{self.where} is there again."
        return f"{self.where}: messages come again." if state == "silent" else ""

    def away(self, problem: str) -> str:
        """Return that Redis cannot be reached."""
        embedded = "" if self._settings.redis_embedded == "never" else " (a collector starts and ends its embedded one)"
        return f"Waiting for {self.where}{embedded}: {problem.rstrip('.')}. {DOCTOR}."

    def unseen(self, readers: Readers) -> str:
        """Return why nothing is shown of what comes."""
        market, seen = self._choice.market, readers.filter.seen
        if readers.unreadable:
            return (
                f"{readers.unreadable} messages on {self.channels} could not be read as {self._settings.exchange}'s: "
                "do EXCHANGE and CHANNEL_TYPE say what the collector does?"
            )
        named = ", ".join(self._choice.names) or (f"the {market} market" if market else "what is asked for")
        if not seen:
            return f"Messages come on {self.channels}, but nothing of {named}."
        if any(readers.filter(*each) for each in seen):
            return f"Nothing new of {named} on {self.channels}; others come."
        symbols = sorted({symbol for _, symbol in seen})
        more = f" and {len(symbols) - SYMBOLS_NAMED} more" if len(symbols) > SYMBOLS_NAMED else ""
        views = difflib.get_close_matches(self._choice.names[0].lower(), VIEWS, 1) if self._choice.names else ()
        meant = f" Or did you mean `watch {views[0]}`?" if views and self._choice.view == TABLE else ""
        there = f"{', '.join(symbols[:SYMBOLS_NAMED])}{more}"
        return f"Nothing of {named} comes on {self.channels}: there are {there}.{meant}"

    def silent(self) -> str:
        """Return why nothing may come at all."""
        hint = "is the collector running (python main.py), with the same settings?"
        if "redis" not in self._settings.enabled_consumers:
            hint = "ENABLED_CONSUMERS does not name redis."
        elif self._choice.view == "raw" and self._choice.kind not in self._settings.raw_streams:
            hint = f"RAW_STREAMS does not name {self._choice.kind}; is there a STREAMS entry of it?"
        return f"Nothing is published on {self.channels} at {self.where}: {hint} {DOCTOR}."

    def refused(self, problem: str) -> str:
        """Return that Redis refuses the login, and which setting is wrong."""
        cure = remedy_of(problem)
        if "permission" in problem:
            cure = f"give its user the channels {self.channels} (ACL SETUSER ... +subscribe &stream:*)"
        return f"{self.where} refuses: {problem.rstrip('.?')}; {cure}."


def shortest_interval(choice: Choice, settings: Settings) -> Interval:
    """Return the shortest interval of the klines that are shown; months are the longest."""
    intervals = [parse_interval(text) for text in settings.kline_intervals]
    shown = [each for each in intervals if not choice.steps or each.step_ms in choice.steps] or intervals
    return min(shown, key=lambda each: each.step_ms or LONGEST_MONTH_MS)


def display_of(
    choice: Choice, settings: Settings, readers: Readers, sentences: Sentences, descriptor: int = STDOUT
) -> Display:
    """Return the table for the usual view on a terminal, else lines."""
    names_market = len(choice.markets) > 1
    if choice.view == TABLE and not choice.is_json and choice.count is None and os.isatty(descriptor):
        title = f"{settings.exchange} {', '.join(choice.markets)}   {sentences.where}   Ctrl-C ends"
        order = [SymbolFilter((name,), settings.symbols_quote) for name in choice.names or settings.symbols]
        table = PriceTable(sentences.interval, title, order, names_market=names_market)
        return TableDisplay(table, descriptor)
    return LineDisplay(choice, readers, descriptor, names_market=names_market)


class TableDisplay:
    """A Display that redraws a table on the alternate screen of a terminal."""

    def __init__(self, table: PriceTable, descriptor: int) -> None:
        self._table, self._descriptor = table, descriptor
        self._notice = ""
        self._due_s = 0.0
        write_all(descriptor, ENTER.encode())

    def add(self, items: Iterable[Item]) -> None:
        """See Display."""
        at_ms = now_ms()
        for item in items:
            if isinstance(item, Envelope):
                self._table.add(item, at_ms)

    def notice(self, state: str, text: str) -> None:
        """See Display."""
        self._notice, self._due_s = "" if state == "shown" else text, 0.0

    def tick(self) -> bool:
        """See Display."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + DRAW_S
            lines = self._table.lines(now_ms(), now_s, size_of(self._descriptor), self._notice)
            write_all(self._descriptor, drawing(lines).encode())
        return True

    def close(self) -> None:
        """See Display."""
        with contextlib.suppress(OSError):  # the terminal is gone
            write_all(self._descriptor, LEAVE.encode())


class LineDisplay:
    """A Display that writes lines: prices at most one per symbol and PRICE_EVERY_S, all else as it comes."""

    def __init__(self, choice: Choice, readers: Readers, descriptor: int, *, names_market: bool) -> None:
        self._choice, self._readers, self._descriptor, self._names_market = choice, readers, descriptor, names_market
        self._left = choice.count
        self._prices: dict[tuple[str, str], tuple[Decimal, Envelope]] = {}  # not written yet
        self._written: dict[tuple[str, str], tuple[float, Decimal]] = {}  # when, and which price
        self._closed = select.poll()  # a pipe whose reader is gone, also while nothing is to be written
        self._closed.register(descriptor, 0)

    def add(self, items: Iterable[Item]) -> None:
        """See Display."""
        lines: list[bytes] = []
        for item in items:
            if isinstance(item, bytes):
                lines.append(item)
            elif item.data_type == "price":
                self._keep_prices(item)
            elif self._choice.is_json:
                lines.append(item.json)
            else:
                lines += self._lines(item)
        self._write(lines)

    def notice(self, state: str, text: str) -> None:  # noqa: ARG002 - a table has to know it
        """See Display."""
        if text:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def tick(self) -> bool:
        """See Display."""
        if any(event & (select.POLLERR | select.POLLNVAL) for _, event in self._closed.poll(0)):
            raise BrokenPipeError(errno.EPIPE, "the reader is gone")
        now_s = time.monotonic()
        due = [key for key in self._prices if now_s - self._written.get(key, (0.0,))[0] >= PRICE_EVERY_S]
        lines: list[bytes] = []
        for key in due:
            price, envelope = self._prices.pop(key)
            if self._written.get(key, (0.0, None))[1] != price:
                self._written[key] = now_s, price
                lines += [envelope.json] if self._choice.is_json else self._lines(envelope)
        self._write(lines)
        return self._left is None or self._left > 0

    def close(self) -> None:
        """See Display."""

    def _keep_prices(self, envelope: Envelope) -> None:
        for each in envelope.data:
            one = Envelope(envelope.exchange, envelope.channel, "price", (each,))
            self._prices[envelope.channel, str(each["symbol"])] = Decimal(each["price"]), one

    def _lines(self, envelope: Envelope) -> list[bytes]:
        begin = f"{envelope.channel}:" if self._names_market else ""
        return [line.encode() for line in lines_of(envelope, now_ms(), begin, self._readers.names)]

    def _write(self, lines: Sequence[bytes]) -> None:
        if self._left is not None:
            lines = lines[: self._left]
            self._left -= len(lines)
        if lines:
            write_all(self._descriptor, b"\n".join(lines) + b"\n")
