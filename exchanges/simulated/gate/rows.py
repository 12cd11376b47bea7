"""The JSON of Gate's rows: trades, tickers, candles, instruments. Pure; key order as recorded.

Sizes of futures are text, as with the header X-Gate-Size-Decimal; without it `whole` makes them integers.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..symbol_market import SymbolMarket
from ..trades import Trade
from ..truth import Candle, printed
from .instruments import is_decimal

PREFIX = {"spot": "spot", "linear": "futures"}
SIDE = {"Buy": "buy", "Sell": "sell"}
INTERNAL = "internal"
OFF_MARKET_TICKS = 150  # of the price of an internal trade
SIZES = re.compile(rb'"(size|s|B|A|v)":"(-?\d+)(?:\.\d+)?"')


def dump(data: object) -> str:
    """JSON without spaces."""
    return json.dumps(data, separators=(",", ":"))


def push(channel: str, now_ms: int, result: str, event: str = "update") -> str:
    """A data message."""
    return f'{{"time":{now_ms // 1000},"time_ms":{now_ms},"channel":"{channel}","event":"{event}","result":{result}}}'


def without_decimals(body: bytes) -> bytes:
    """A message of futures as clients get it that did not ask for decimals: sizes are integers, cut."""
    return SIZES.sub(rb'"\1":\2', body)


def whole(size: str, *, is_text: bool) -> str | int:
    """A size of futures in REST, with or without decimals."""
    return size if is_text else int(Decimal(size))


def price_of(symbol: SymbolMarket, trade: Trade) -> str:
    """A trade's price; an internal one's is off the market."""
    return symbol.price_text(trade.ticks + OFF_MARKET_TICKS) if trade.mark == INTERNAL else trade.price


def exact_ms(trade: Trade) -> str:
    """The time of a trade of spot: milliseconds, with microseconds as decimals."""
    return f"{trade.event_ms}.{trade.number % 1000:03d}000"


def signed(trade: Trade) -> str:
    """The size of a trade of futures, negative where the taker sold."""
    return trade.size if trade.side == "Buy" else f"-{trade.size}"


def spot_trade(symbol: SymbolMarket, trades: Sequence[Trade]) -> str:
    """One message of spot.trades: mostly of one trade, else of some at one price, with the last one's id."""
    trade, size = trades[-1], symbol.size_text(sum(each.lots for each in trades))
    return (
        f'{{"id":{trade.id},"id_market":{trade.id},"create_time":{trade.event_ms // 1000},'
        f'"create_time_ms":"{exact_ms(trade)}","side":"{SIDE[trade.side]}",'
        f'"currency_pair":"{symbol.instrument.symbol}","amount":"{size}","price":"{trade.price}",'
        f'"range":"{trades[0].id}-{trade.id}","trade_mode":0}}'
    )


def futures_trade(symbol: SymbolMarket, trade: Trade) -> str:
    """One trade of futures.trades, its time in milliseconds."""
    internal = ',"is_internal":true' if trade.mark == INTERNAL else ""
    return (
        f'{{"id":{trade.id},"size":"{signed(trade)}","create_time":{trade.event_ms // 1000},'
        f'"create_time_ms":{trade.event_ms},"price":"{price_of(symbol, trade)}",'
        f'"contract":"{symbol.instrument.symbol}"{internal}}}'
    )


def spot_past(symbol: SymbolMarket, trade: Trade) -> dict[str, str]:
    """One trade of REST of spot."""
    return {
        "id": trade.id,
        "create_time": str(trade.event_ms // 1000),
        "create_time_ms": exact_ms(trade),
        "currency_pair": symbol.instrument.symbol,
        "side": SIDE[trade.side],
        "amount": trade.size,
        "price": trade.price,
        "sequence_id": trade.id,
    }


def futures_past(symbol: SymbolMarket, trade: Trade, *, is_text: bool) -> dict[str, Any]:
    """One trade of REST of futures: create_time_ms is in seconds, too."""
    row: dict[str, Any] = {
        "id": trade.number,
        "contract": symbol.instrument.symbol,
        "create_time": trade.event_ms / 1000,
        "create_time_ms": trade.event_ms / 1000,
        "size": whole(signed(trade), is_text=is_text),
        "price": price_of(symbol, trade),
    }
    return row | {"is_internal": True} if trade.mark == INTERNAL else row


def _day(symbol: SymbolMarket) -> dict[str, str]:
    """What tickers of both markets have in common."""
    opened = symbol.instrument.first_price
    changed = (Decimal(symbol.last_price()) / opened - 1) * 100
    high, low = symbol.price_text(symbol.high_ticks), symbol.price_text(symbol.low_ticks)
    return {"last": symbol.last_price(), "change_percentage": f"{changed:.4f}", "high_24h": high, "low_24h": low}


def spot_ticker(symbol: SymbolMarket) -> dict[str, str]:
    """A ticker of spot."""
    bid, _, _ = symbol.own.best()
    day = _day(symbol)
    return {
        "currency_pair": symbol.instrument.symbol,
        "last": day["last"],
        "lowest_ask": symbol.price_text(bid + 1),
        "highest_bid": symbol.price_text(bid),
        "change_percentage": day["change_percentage"],
        "base_volume": symbol.size_text(symbol.volume_lots),
        "quote_volume": symbol.turnover_text(),
        "high_24h": day["high_24h"],
        "low_24h": day["low_24h"],
    }


def futures_ticker(symbol: SymbolMarket, now_ms: int) -> dict[str, Any]:
    """A ticker of futures: volume_24h is in contracts."""
    instrument, day, turnover = symbol.instrument, _day(symbol), symbol.turnover_text()
    coins = printed(instrument.contract_size * instrument.lot * symbol.volume_lots)
    volumes = {"volume_24h": symbol.size_text(symbol.volume_lots), "volume_24h_base": coins}
    return {
        "contract": instrument.symbol,
        "last": day["last"],
        "change_percentage": day["change_percentage"],
        "total_size": symbol.size_text(symbol.max_lots * 9),
        **volumes,
        "volume_24h_quote": turnover,
        "volume_24h_settle": turnover,
        "mark_price": symbol.price_text(symbol.mid),
        "funding_rate": "0.000125",
        "funding_rate_indicative": "0.000125",
        "funding_interval": 28800,
        "funding_offset": 0,
        "funding_next_apply": now_ms // 28_800_000 * 28_800 + 28_800,
        "index_price": symbol.price_text(symbol.mid),
        "quanto_base_rate": "",
        "low_24h": day["low_24h"],
        "high_24h": day["high_24h"],
        "price_type": "last",
        "change_from": "24h",
        "change_price": printed(Decimal(day["last"]) - instrument.first_price),
        "t": now_ms,
    }


def at_least_eight(value: Decimal) -> str:
    """A number with eight decimals, or all that it has."""
    exponent = value.as_tuple().exponent
    return format(value, f".{max(8, -exponent)}f") if isinstance(exponent, int) else printed(value)


def spot_candle(candle: Candle, *, is_closed: bool) -> list[str]:
    """A row of REST: time, turnover, close, high, low, open, volume, whether it is closed."""
    turnover, volume = at_least_eight(candle.turnover), at_least_eight(candle.volume)
    prices = map(printed, (candle.close, candle.high, candle.low, candle.open))
    return [str(candle.start // 1000), turnover, *prices, volume, "true" if is_closed else "false"]


def futures_candle(candle: Candle, *, is_text: bool) -> dict[str, Any]:
    """A row of REST: `v` in contracts, `sum` in the quote."""
    return {
        "o": printed(candle.open),
        "v": whole(printed(candle.volume), is_text=is_text),
        "t": candle.start // 1000,
        "c": printed(candle.close),
        "l": printed(candle.low),
        "h": printed(candle.high),
        "sum": printed(candle.turnover),
    }


def pair_row(symbol: SymbolMarket, *, is_listed: bool) -> dict[str, Any]:
    """A currency pair; precisions are numbers of decimals."""
    each = symbol.instrument
    tick, lot = (max(0, -step.normalize().adjusted()) for step in (each.tick, each.lot))
    return {
        "id": each.symbol,
        "base": each.base,
        "base_name": each.base,
        "quote": each.quote,
        "quote_name": "Tether",
        "trade_quotes": [],
        "fee": "0.2",
        "min_base_amount": format(each.lot.normalize(), "f"),
        "min_quote_amount": "3",
        "max_base_amount": "100000000",
        "max_quote_amount": "5000000",
        "amount_precision": lot,
        "precision": tick,
        "trade_status": "tradable" if is_listed else "untradable",
        "sell_start": 0,
        "buy_start": 0,
        "type": "normal",
        "trade_url": f"https://www.gate.com/trade/{each.symbol}",
        "st_tag": False,
    }


def contract_row(symbol: SymbolMarket) -> dict[str, Any]:
    """A contract: base and quote are in its name alone."""
    each, last = symbol.instrument, symbol.recent[-1].number if symbol.recent else 0
    return {
        "name": each.symbol,
        "type": "direct",
        "quanto_multiplier": format(each.contract_size, "f"),
        "order_price_round": format(each.tick, "f"),
        "mark_price_round": format(each.tick / 10, "f"),
        "order_size_min": 0 if is_decimal(each) else 1,
        "order_size_max": 12_000_000,
        "enable_decimal": is_decimal(each),
        "leverage_min": "1",
        "leverage_max": "100",
        "maintenance_rate": "0.005",
        "maker_fee_rate": "-0.0001",
        "taker_fee_rate": "0.00075",
        "mark_type": "index",
        "mark_price": symbol.price_text(symbol.mid),
        "index_price": symbol.price_text(symbol.mid),
        "last_price": symbol.last_price(),
        "funding_rate": "0.0001",
        "funding_interval": 28800,
        "in_delisting": False,
        "is_pre_market": False,
        "status": "trading",
        "contract_type": "",
        "create_time": symbol.listed_ms // 1000,
        "launch_time": symbol.listed_ms // 1000,
        "trade_id": last,
        "trade_size": symbol.volume_lots,
    }
