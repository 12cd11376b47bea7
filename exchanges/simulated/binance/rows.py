"""The JSON objects of Binance's trades, aggregates, candles, tickers and instruments. Pure; key order as recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import Candle, Interval, end_of, printed, printed_turnover

PRODUCT = {"linear": 1, "inverse": 2}  # the field st of futures
NO_DELIVERY_MS = 4_133_404_800_000


class Aggregate(NamedTuple):
    """Trades that count of one moment, price and side."""

    number: int
    first: int
    last: int
    price: str
    lots: int
    event_ms: int
    is_maker: bool


@dataclass
class Aggregates:
    """The aggregates of one symbol, numbered on; `take` must be called before trades leave the recent ones."""

    found: list[Aggregate]
    taken: int = -1
    key: tuple[int, int, str] | None = None
    keep: int = 4000

    def take(self, symbol: SymbolMarket) -> list[Aggregate]:
        """Put the newest trades into aggregates; returns all that are kept, oldest first."""
        for trade in symbol.recent:
            if trade.number <= self.taken:
                continue
            self.taken = trade.number
            key = (trade.event_ms, trade.ticks, trade.side)
            if not trade.is_counted:
                self.key = None
            elif key == self.key:
                last = self.found[-1]
                self.found[-1] = last._replace(last=trade.number, lots=last.lots + trade.lots)
            else:
                number = self.found[-1].number + 1 if self.found else 1_000
                self.found.append(
                    Aggregate(
                        number, trade.number, trade.number, trade.price, trade.lots, trade.event_ms, is_maker(trade)
                    )
                )
                self.key = key
        del self.found[: -self.keep]
        return self.found


def is_maker(trade: Trade) -> bool:
    """Whether the buyer was the maker: the taker sold."""
    return trade.side == "Sell"


def trade_event(symbol: SymbolMarket, trade: Trade, now_ms: int) -> str:
    """The data of a trade message; X and st are of futures."""
    maker = str(is_maker(trade)).lower()
    head = f'{{"e":"trade","E":{now_ms},'
    each, name = symbol.instrument, symbol.instrument.symbol
    if each.category == "spot":
        return (
            f'{head}"s":"{name}","t":{trade.number},"p":"{trade.price}","q":"{trade.size}","T":{trade.event_ms},'
            f'"m":{maker},"M":true}}'
        )
    return (
        f'{head}"T":{trade.event_ms},"s":"{name}","t":{trade.number},"p":"{trade.price}","q":"{trade.size}",'
        f'"X":"{trade.mark or "MARKET"}","m":{maker},"st":{PRODUCT[each.category]}}}'
    )


def trade_row(symbol: SymbolMarket, trade: Trade) -> dict[str, Any]:
    """One trade of REST."""
    row: dict[str, Any] = {"id": trade.number, "price": trade.price, "qty": trade.size}
    row |= {"quoteQty": "0", "time": trade.event_ms, "isBuyerMaker": is_maker(trade)}
    if symbol.instrument.category == "spot":
        return row | {"isBestMatch": True}
    return row | {"isRPITrade": trade.mark == "RPI"}


def aggregate_row(symbol: SymbolMarket, each: Aggregate) -> dict[str, Any]:
    """One aggregate of REST."""
    row: dict[str, Any] = {"a": each.number, "p": each.price, "q": symbol.size_text(each.lots)}
    row |= {"f": each.first, "l": each.last, "T": each.event_ms, "m": each.is_maker}
    return row | {"M": True} if symbol.instrument.category == "spot" else row


def candle_row(symbol: SymbolMarket, candle: Candle, interval: Interval) -> list[Any]:
    """One candle of REST: COIN-M has contracts as volume, and the coin as turnover."""
    is_inverse = symbol.truth.rule.is_inverse
    prices = map(printed, (candle.open, candle.high, candle.low, candle.close))
    turnover = printed_turnover(candle, is_inverse)
    end = end_of(candle.start, interval) - 1
    return [candle.start, *prices, printed(candle.volume), end, turnover, candle.trade_count, "0", "0", "0"]


def ticker(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """The data of a ticker message."""
    price, name = symbol.price_text, symbol.instrument.symbol
    opened = price(int(symbol.instrument.first_price / symbol.instrument.tick))
    ids = [trade.number for trade in symbol.recent] or [0]
    found: dict[str, Any] = {"e": "24hrTicker", "E": now_ms, "s": name, "p": "0", "P": "0", "w": symbol.last_price()}
    found |= {"c": symbol.last_price(), "Q": symbol.recent[-1].size if symbol.recent else "0"}
    if symbol.instrument.category == "spot":
        found |= {
            "b": price(symbol.mid),
            "B": symbol.size_text(2),
            "a": price(symbol.mid + 1),
            "A": symbol.size_text(1),
        }
    found |= {"o": opened, "h": price(symbol.high_ticks), "l": price(symbol.low_ticks)}
    found |= {"v": symbol.size_text(symbol.volume_lots), "q": symbol.turnover_text(), "O": now_ms - 86_400_000}
    found |= {"C": now_ms, "F": ids[0], "L": ids[-1], "n": len(ids)}
    return found if symbol.instrument.category == "spot" else found | {"st": PRODUCT[symbol.instrument.category]}


def ticker_row(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """The 24 hours of REST."""
    of = ticker(symbol, now_ms)
    worth = {"baseVolume": of["q"]} if symbol.instrument.category == "inverse" else {"quoteVolume": of["q"]}
    row = {"symbol": of["s"], "priceChange": "0", "priceChangePercent": "0", "weightedAvgPrice": of["w"]}
    row |= {"lastPrice": of["c"], "lastQty": of["Q"], "openPrice": of["o"], "highPrice": of["h"], "lowPrice": of["l"]}
    if symbol.instrument.category == "spot":
        row |= {
            "prevClosePrice": of["o"],
            "bidPrice": of["b"],
            "bidQty": of["B"],
            "askPrice": of["a"],
            "askQty": of["A"],
        }
    row |= {"volume": of["v"], **worth, "openTime": of["O"], "closeTime": of["C"]}
    return row | {"firstId": of["F"], "lastId": of["L"], "count": of["n"]}


def instrument_row(symbol: SymbolMarket) -> dict[str, Any]:
    """One symbol of exchangeInfo."""
    each = symbol.instrument
    decimals = max(0, -int(each.tick.as_tuple().exponent))
    row: dict[str, Any] = {"symbol": each.symbol, "baseAsset": each.base, "quoteAsset": each.quote}
    row["filters"] = [
        {"filterType": "PRICE_FILTER", "minPrice": str(each.tick), "maxPrice": "4000000", "tickSize": str(each.tick)},
        {"filterType": "LOT_SIZE", "minQty": str(each.lot), "maxQty": "9000000", "stepSize": str(each.lot)},
    ]
    row |= {"pricePrecision": decimals, "quantityPrecision": 8, "baseAssetPrecision": 8, "quotePrecision": 8}
    if each.category == "spot":
        return row | {"status": "TRADING", "isSpotTradingAllowed": True, "permissionSets": [["SPOT"]]}
    row |= {"pair": each.base + each.quote, "contractType": "PERPETUAL", "deliveryDate": NO_DELIVERY_MS}
    row |= {"onboardDate": symbol.listed_ms, "marginAsset": each.base if each.category == "inverse" else each.quote}
    if each.category == "linear":
        return row | {"status": "TRADING"}
    return row | {"contractStatus": "TRADING", "contractSize": int(each.contract_size)}


def counted(trades: Sequence[Trade]) -> list[Trade]:
    """The trades that REST shows: placeholders, insurance and the like are left out."""
    return [trade for trade in trades if trade.is_counted]
