"""What the soak needs of an exchange: its payloads through the venue's decoder, its rules, how far its REST reaches.

Pure; virtual time. The collector's side of it (decoder, arithmetic, ids) is what the venue declares.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from aggregation.klines.arithmetic import Arithmetic
from benchmarks.soak_market import CANDLE_STEPS_MS, EVERY_MS, CandleRule, MakeSymbol, Symbol
from exchanges.binance.rest_rows import AggregateRow, overlapping, trades_of_aggregates, with_uncounted
from exchanges.contract import Endpoints, TradeRules
from exchanges.kucoin.rest import SETTLED_MS
from exchanges.registry import VENUES
from model.markets import KlineRules
from model.records import Candle, PastTrade, TradeBatch

NAMES = ("bybit", "binance", "okx", "kucoin", "gate", "bingx", "bitget")
BRISK_MS = (100, 300, 700, 1_000, 2_000, 5_000, 15_000, 40_000)  # mean time between a symbol's orders
FEW_SIZES = 2
MATCHES = (1, 1, 1, 2, 3, 7)  # of one order at one price
UNCOUNTED_SHARE = 0.02  # of all orders, on futures of Binance and Gate: prints of no candle
CONTRACTS = {"linear": ("0.001", "0.1", "1", "10"), "inverse": ("10", "100")}
BINANCE_NEWEST, OKX_NEWEST, GATE_NEWEST = 1_000, 500, 1_000  # trades that one answer of REST has
PAST_MOST, PAST_LEAST = 120_000, 90_000  # matches of a symbol that are kept: more than the hours of a run need


@dataclass(frozen=True)
class Print:
    """One match, in the exchange's numbers. `mark`: why it does not count in candles, "" where it does."""

    trade_id: int
    ms: int
    price: Decimal
    size: Decimal
    mark: str = ""


class NumberedSymbol(Symbol):
    """A symbol whose matches are numbered one after the other. `write` makes the messages of one order."""

    def __init__(
        self,
        name: str,
        every_ms: int,
        rng: random.Random,
        begin_ms: int,
        rule: CandleRule,
        write: Callable[[str, Sequence[Print]], list[bytes]],
        marks: Sequence[str],
    ) -> None:
        self._write, self._marks, self.rule = write, marks, rule
        self._past: list[PastTrade] = []
        self.last_payload = b""
        super().__init__(name, every_ms, rng, begin_ms, rule)

    def burst(self, now_ms: int) -> Iterator[bytes]:
        """Take some orders within a millisecond."""
        for _ in range(self._rng.choice((1, 1, 2, 4))):
            yield from self._order(now_ms)

    def trade(self, now_ms: int) -> bytes:
        """Take one order; returns its last message."""
        return self._order(now_ms)[-1]

    def _order(self, now_ms: int) -> list[bytes]:
        rng = self._rng
        self._ticks = max(self._ticks + rng.randint(-3, 3), 1_000)
        price, prints = self._ticks * self._tick, []
        for _ in range(rng.choice(MATCHES)):
            self._seq += 1
            prints.append(Print(self._seq, now_ms, price, rng.randint(1, 5_000) * self._lot))
        if self._marks and rng.random() < UNCOUNTED_SHARE:
            self._seq += 1
            mark = rng.choice(self._marks)  # a liquidation's is far from the market; who counts it sees it
            far = (Decimal(0), Decimal(0)) if mark == "NA" else (price * 2, self._lot)
            prints.append(Print(self._seq, now_ms, *far, mark))
        for each in prints:
            self._match(each)
        payloads = self._write(self.name, prints)
        self.last_payload = payloads[-1]
        return payloads

    def _match(self, one: Print) -> None:
        if not one.mark:
            self.seconds.add(one.ms, one.price, one.size)
            self.minutes.add(one.ms, one.price, one.size)
        self._past.append(
            PastTrade(one.trade_id, one.ms, float(one.price), float(one.size), one.trade_id, is_counted=not one.mark)
        )
        if len(self._past) > PAST_MOST:
            del self._past[: PAST_MOST - PAST_LEAST]

    # -- what REST has of it ---------------------------------------------------------------------------

    def newest_prints(self, count: int, until_ms: int, *, has_all: bool = False) -> list[PastTrade]:
        """The newest matches by `until_ms` that count, oldest first; with `has_all` the others, too."""
        found: list[PastTrade] = []
        for each in reversed(self._past):
            if each.event_ms <= until_ms and (each.is_counted or has_all):
                found.append(each)
                if len(found) == count:
                    break
        return found[::-1]

    def prints_of(self, first_id: int, last_id: int, until_ms: int, *, has_all: bool = False) -> list[PastTrade]:
        """The matches with these ids by `until_ms` that count, with all of the milliseconds of the first and last."""
        past = self._past
        begin_id = past[0].seq
        first, last = max(first_id - begin_id, 0), min(last_id - begin_id, len(past) - 1)
        while 0 < first < len(past) and past[first - 1].event_ms == past[first].event_ms:
            first -= 1
        while 0 <= last < len(past) - 1 and past[last + 1].event_ms == past[last].event_ms:
            last += 1
        return [each for each in past[first : last + 1] if (each.is_counted or has_all) and each.event_ms <= until_ms]


@dataclass(frozen=True)
class Unique:
    """An exchange whose trades have ids that are texts, or none.

    `names` of symbols by market; `%02d` is a number. `write(market, symbol, id, ms, price, size)` makes the message of
    one trade. `newest`: trades that one answer of REST has, and there is no other. `has_ids`: else many trades are
    equal, for sizes are few, and `write` is given their number. `merged(market, payloads)`: the messages of several
    trades of one moment.
    """

    names: Mapping[str, str]
    write: Callable[[str, str, str, int, Decimal, Decimal], bytes]
    newest: int
    has_ids: bool = True
    merged: Callable[[str, list[bytes]], list[bytes]] = lambda _market, payloads: payloads


class UniqueSymbol(Symbol):
    """A symbol of such an exchange, with the candles that `rules` say."""

    def __init__(
        self,
        number: int,
        every_ms: int,
        rng: random.Random,
        begin_ms: int,
        rule: CandleRule,
        of: Unique,
        market: str,
        rules: KlineRules,
    ) -> None:
        self._of, self._in, self._rules, self.newest_most = of, market, rules, of.newest
        self.sizes_most = Symbol.sizes_most if of.has_ids else FEW_SIZES
        super().__init__(of.names[market] % number, every_ms, rng, begin_ms, rule)

    def id_of(self, seq: int) -> str:
        """The sequence as a text."""
        return str(seq) if self._of.has_ids else ""

    def burst(self, now_ms: int) -> Iterator[bytes]:
        """As the exchange puts them together."""
        yield from self._of.merged(self._in, list(super().burst(now_ms)))

    def written(self, trade_id: str, now_ms: int, price: Decimal, size: Decimal) -> bytes:
        """As the exchange writes it."""
        return self._of.write(self._in, self.name, trade_id or str(self._seq), now_ms, price, size)

    def candles(self, step_ms: int, start_ms: int, end_ms: int, now_ms: int) -> list[Candle]:
        """As the venue's REST gives them: what is quiet is there once more was traded, or some seconds later."""
        found = super().candles(step_ms, start_ms, end_ms, now_ms)
        if self._rules.lacks_turnover:
            found = [replace(each, turnover=each.volume * each.close) for each in found]
        sure_ms = max(self.seconds.starts[-1], now_ms - SETTLED_MS) if self._rules.lacks_quiet else now_ms + step_ms
        return [each for each in found if each.volume or each.start_ms + step_ms <= sure_ms]


# -- payloads -------------------------------------------------------------------------------------------------


def binance_messages(name: str, prints: Sequence[Print], *, has_marks: bool) -> list[bytes]:
    """A message of `<symbol>@trade` for each match."""
    return [
        (
            f'{{"stream":"{name.lower()}@trade","data":{{"e":"trade","E":{one.ms},"T":{one.ms},"s":"{name}",'
            f'"t":{one.trade_id},"p":"{one.price}","q":"{one.size}",'
            + (f'"X":"{one.mark or "MARKET"}",' if has_marks else "")
            + '"m":true}}'
        ).encode()
        for one in prints
    ]


def okx_messages(name: str, prints: Sequence[Print]) -> list[bytes]:
    """A message of `trades` for all matches of an order at one price, with the id of the last."""
    last, size = prints[-1], sum((one.size for one in prints), Decimal(0))
    text = (
        f'{{"arg":{{"channel":"trades","instId":"{name}"}},"data":[{{"instId":"{name}","tradeId":"{last.trade_id}",'
        f'"px":"{last.price}","sz":"{size}","side":"buy","ts":"{last.ms}","count":"{len(prints)}","source":"0",'
        f'"seqId":{last.trade_id}}}]}}'
    )
    return [text.encode()]


def kucoin_message(market: str, name: str, trade_id: str, ms: int, price: Decimal, size: Decimal) -> bytes:
    """A message of one match: of spot all texts, of futures numbers."""
    ns = ms * 1_000_000 + 7
    if market == "spot":
        return (
            f'{{"topic":"/market/match:{name}","type":"message","subject":"trade.l3match","data":{{"makerOrderId":"a",'
            f'"price":"{price}","sequence":"{trade_id}","side":"buy","size":"{size}","symbol":"{name}",'
            f'"takerOrderId":"b","time":"{ns}","tradeId":"{trade_id}","type":"match"}}}}'
        ).encode()
    return (
        f'{{"topic":"/contractMarket/execution:{name}","type":"message","subject":"match","sn":{trade_id},"data":'
        f'{{"symbol":"{name}","sequence":{trade_id},"side":"buy","size":{size},"price":"{price}","takerOrderId":"a",'
        f'"makerOrderId":"b","tradeId":"{trade_id}","ts":{ns}}}}}'
    ).encode()


def bingx_message(market: str, name: str, number: str, ms: int, price: Decimal, size: Decimal) -> bytes:
    """A message of one trade: of swaps a list, whose last is the oldest."""
    if market == "spot":
        return (
            f'{{"code":0,"data":{{"E":{ms},"T":{ms},"e":"trade","m":false,"p":"{price}","q":"{size}","s":"{name}",'
            f'"t":"{number}"}},"dataType":"{name}@trade","success":true,"timestamp":{ms}}}'
        ).encode()
    row = f'{{"q":"{size}","p":"{price}","T":{ms},"m":false,"s":"{name}"}}'
    return f'{{"code":0,"dataType":"{name}@trade","data":[{row}]}}'.encode()


def bingx_merged(market: str, payloads: list[bytes]) -> list[bytes]:
    """One message of swaps, the newest trade first."""
    if market == "spot":
        return payloads
    begin = payloads[0].index(b"[") + 1
    return [payloads[0][:begin] + b",".join(each[begin:-2] for each in reversed(payloads)) + b"]}"]


def bitget_message(market: str, name: str, trade_id: str, ms: int, price: Decimal, size: Decimal) -> bytes:
    """A message of one trade; the symbol is in its arg."""
    product = "SPOT" if market == "spot" else "USDT-FUTURES"
    return (
        f'{{"action":"update","arg":{{"instType":"{product}","channel":"trade","instId":"{name}"}},"data":[{{'
        f'"ts":"{ms}","price":"{price}","size":"{size}","side":"buy","tradeId":"{trade_id}"}}],"ts":{ms}}}'
    ).encode()


def bitget_merged(_market: str, payloads: list[bytes]) -> list[bytes]:
    """One message, the newest trade first."""
    begin, end = payloads[-1].index(b"[") + 1, payloads[-1].rindex(b"]")
    rows = [each[begin : each.rindex(b"]")] for each in reversed(payloads)]
    return [payloads[-1][:begin] + b",".join(rows) + payloads[-1][end:]]


PAIRS = MappingProxyType({"linear": "S%02d-USDT", "spot": "S%02d-USDT"})
UNIQUE: Mapping[str, Unique] = MappingProxyType(
    {
        "bingx": Unique(PAIRS, bingx_message, 1_000, has_ids=False, merged=bingx_merged),
        "bitget": Unique({"linear": "S%02dUSDT", "spot": "S%02dUSDT"}, bitget_message, 100, merged=bitget_merged),
        "kucoin": Unique({"linear": "S%02dUSDTM", "spot": "S%02d-USDT"}, kucoin_message, 100),
    }
)


def gate_spot_messages(name: str, prints: Sequence[Print]) -> list[bytes]:
    """A message of `spot.trades` for each match."""
    return [
        (
            f'{{"time":{one.ms // 1000},"time_ms":{one.ms},"channel":"spot.trades","event":"update","result":{{'
            f'"id":{one.trade_id},"id_market":{one.trade_id},"create_time":{one.ms // 1000},'
            f'"create_time_ms":"{one.ms}.119000","side":"sell","currency_pair":"{name}","amount":"{one.size}",'
            f'"price":"{one.price}","range":"{one.trade_id}-{one.trade_id}","trade_mode":0}}}}'
        ).encode()
        for one in prints
    ]


def gate_futures_messages(name: str, prints: Sequence[Print]) -> list[bytes]:
    """A message of `futures.trades` for all matches of an order, one of the insurance fund's among them."""
    rows = ",".join(
        f'{{"id":{one.trade_id},"size":"-{one.size}","create_time":{one.ms // 1000},"create_time_ms":{one.ms},'
        f'"price":"{one.price}","contract":"{name}"' + (',"is_internal":true}' if one.mark else "}")
        for one in prints
    )
    ms = prints[-1].ms
    head = f'{{"time":{ms // 1000},"time_ms":{ms},"channel":"futures.trades","event":"update","result":['
    return [f"{head}{rows}]}}".encode()]


# -- what REST answers ----------------------------------------------------------------------------------------


def binance_recent(symbol: NumberedSymbol, until_ms: int, *, is_spot: bool) -> list[PastTrade]:
    """`trades`: the newest single matches, without those that do not count."""
    found = symbol.newest_prints(BINANCE_NEWEST, until_ms)
    return found if is_spot else with_uncounted(found)


def binance_by_id(
    symbol: NumberedSymbol, first_id: int, last_id: int, until_ms: int, *, is_spot: bool
) -> list[PastTrade]:
    """`historicalTrades` of spot; of futures `trades`, and `aggTrades` where these do not reach back so far."""
    if is_spot:
        return overlapping(symbol.prints_of(first_id, last_id, until_ms), first_id, last_id)
    recent = binance_recent(symbol, until_ms, is_spot=False)
    if recent and recent[0].seq <= first_id:
        return overlapping(recent, first_id, last_id)
    return overlapping(
        trades_of_aggregates(aggregates_of(symbol.prints_of(first_id - 50, last_id + 50, until_ms)), counts_rpi=True),
        first_id,
        last_id,
    )


def aggregates_of(prints: Sequence[PastTrade]) -> list[AggregateRow]:
    """The rows of aggTrades: matches of one price and time whose ids follow each other as one."""
    rows: list[AggregateRow] = []
    for one in prints:
        row = rows[-1] if rows else None
        if row and (row.T, row.p, row.l) == (one.event_ms, one.price, one.seq - 1):
            row.l, row.q = one.seq, round(row.q + one.size, 6)
        else:
            rows.append(AggregateRow(len(rows), one.price, one.size, one.seq, one.seq, one.event_ms))
    return rows


def okx_recent(symbol: NumberedSymbol, until_ms: int) -> list[PastTrade]:
    """`trades`: the newest single matches."""
    return symbol.newest_prints(OKX_NEWEST, until_ms)


def okx_by_id(symbol: NumberedSymbol, first_id: int, last_id: int, until_ms: int) -> list[PastTrade]:
    """`history-trades`: single matches."""
    return [each for each in symbol.prints_of(first_id, last_id, until_ms) if first_id <= each.seq <= last_id]


def gate_recent(symbol: NumberedSymbol, until_ms: int) -> list[PastTrade]:
    """`trades`: the newest single matches, also those that do not count."""
    return symbol.newest_prints(GATE_NEWEST, until_ms, has_all=True)


def gate_by_id(symbol: NumberedSymbol, first_id: int, last_id: int, until_ms: int) -> list[PastTrade]:
    """`trades` by `last_id`: as above."""
    found = symbol.prints_of(first_id, last_id, until_ms, has_all=True)
    return [each for each in found if first_id <= each.seq <= last_id]


# -- the exchange ---------------------------------------------------------------------------------------------


class Exchange:
    """One market of one exchange, as its venue declares it, and the symbols that the soak trades there."""

    def __init__(self, name: str, market: str = "linear") -> None:
        venue = VENUES[name]
        self.name, self.market, self.spec = name, market, venue.markets[market]
        self.arithmetic = Arithmetic.of(self.spec)
        self.lacks_turnover = self.arithmetic.exchange_lacks_turnover
        self.is_numbered, self.has_ids = venue.ids == "consecutive", venue.ids != "none"
        self.replays_last = name == "okx"  # the last trade of a symbol is the first message of its subscription
        self.decode: Callable[[Sequence[bytes]], TradeBatch] = venue.decoder(market, TradeRules(), _fail)
        steps_ms = venue.rest(market, Endpoints(), TradeRules(), threading.Event()).candle_steps_ms
        self.steps_ms = CANDLE_STEPS_MS if name == "bybit" else steps_ms
        self.sizes: dict[str, Decimal] = {}

    @property
    def every_ms(self) -> Sequence[int]:
        """Mean times between the trades of symbols: a hole in ids is seen when the next one comes."""
        return BRISK_MS if self.is_numbered else EVERY_MS

    @property
    def make_symbol(self) -> MakeSymbol:
        """Makes a symbol of the market."""
        return self._make

    def recent(self, symbol: NumberedSymbol, until_ms: int) -> list[PastTrade]:
        """The newest trades that REST has of a symbol by `until_ms`."""
        if self.name == "okx":
            return okx_recent(symbol, until_ms)
        if self.name == "gate":
            return gate_recent(symbol, until_ms)
        return binance_recent(symbol, until_ms, is_spot=self.market == "spot")

    def by_id(self, symbol: NumberedSymbol, first_id: int, last_id: int, until_ms: int) -> list[PastTrade]:
        """The trades that REST has of these ids by `until_ms`."""
        if self.name == "okx":
            return okx_by_id(symbol, first_id, last_id, until_ms)
        if self.name == "gate":
            return gate_by_id(symbol, first_id, last_id, until_ms)
        return binance_by_id(symbol, first_id, last_id, until_ms, is_spot=self.market == "spot")

    def _make(self, number: int, every_ms: int, rng: random.Random, begin_ms: int) -> Symbol:
        spec, rules = self.spec, self.spec.klines
        assert rules is not None
        quote = "USD" if spec.contract == "inverse" else "USDT"
        contract = Decimal(rng.choice(CONTRACTS[spec.contract])) if spec.has_contracts else Decimal(1)
        rule = CandleRule(
            rules.opens_at == "prev_close",
            spec.contract == "inverse",
            rules.inverse_digits,
            rules.cuts_each and not spec.has_contracts,
            contract,
        )
        if (unique := UNIQUE.get(self.name)) is not None:
            symbol = UniqueSymbol(number, every_ms, rng, begin_ms, rule, unique, self.market, rules)
            self.sizes[symbol.name] = contract
            return symbol
        if self.name == "bybit":
            return Symbol(f"S{number:02d}{quote}", every_ms, rng, begin_ms, rule)
        has_marks = self.name in ("binance", "gate") and self.market != "spot"
        if self.name == "okx":
            name, write = f"S{number:02d}-{quote}" + ("" if self.market == "spot" else "-SWAP"), okx_messages
        elif self.name == "gate":
            name, write = f"S{number:02d}_{quote}", gate_futures_messages if has_marks else gate_spot_messages
        else:
            name = f"S{number:02d}{quote}" + ("_PERP" if spec.contract == "inverse" else "")

            def write(name: str, prints: Sequence[Print]) -> list[bytes]:
                return binance_messages(name, prints, has_marks=has_marks)

        marks = ("NA", "NA", "NA", "INSURANCE_FUND", "ADL") if self.name == "binance" else ("internal",)
        of_market = marks if has_marks else ()
        self.sizes[name] = contract
        return NumberedSymbol(name, every_ms, rng, begin_ms, rule, write, of_market)


def _fail(cause: str, sample: object) -> None:
    raise ValueError(f"the soak's own message cannot be read: {cause}: {sample!r}")
