"""The JSON text of trades, liquidations and klines, key order as recorded per category.

Pure and hot: f-strings, because nothing in these messages needs escaping.
"""

from collections.abc import Callable

from ..trades import Trade
from ..truth import Candle, Interval, end_of, printed, printed_turnover

RPI = {"": "false", "RPI": "true"}  # the field of that name by the mark of a trade


def derivative_trade(symbol: str, t: Trade) -> str:
    """One trade of a perpetual, linear or inverse."""
    return (
        f'{{"T":{t.event_ms},"s":"{symbol}","S":"{t.side}","v":"{t.size}","p":"{t.price}","L":"{t.direction}",'
        f'"i":"{t.id}","BT":false,"RPI":{RPI[t.mark]},"seq":{t.seq}}}'
    )


def spot_trade(symbol: str, t: Trade) -> str:
    """One spot trade: no tick direction, seq before the symbol."""
    return (
        f'{{"i":"{t.id}","T":{t.event_ms},"p":"{t.price}","v":"{t.size}","S":"{t.side}","seq":{t.seq},'
        f'"s":"{symbol}","BT":false,"RPI":{RPI[t.mark]}}}'
    )


def option_trade(symbol: str, t: Trade) -> str:
    """One option trade with its mark, index and volatilities."""
    return (
        f'{{"p":"{t.price}","v":"{t.size}","i":"{t.id}","T":{t.event_ms},"BT":false,"s":"{symbol}","S":"{t.side}",'
        f'"mP":"{t.price}","iP":"67250.5","mIv":"0.4896","iv":"0.514","RPI":{RPI[t.mark]},"seq":{t.seq}}}'
    )


RENDER_TRADE: dict[str, Callable[[str, Trade], str]] = {
    "linear": derivative_trade,
    "inverse": derivative_trade,
    "spot": spot_trade,
    "option": option_trade,
}


def trade_message(category: str, topic: str, now_ms: int, trades: str, seq: int) -> str:
    """The envelope around trades that are joined already."""
    if category == "spot":
        return f'{{"topic":"{topic}","ts":{now_ms},"type":"snapshot","data":[{trades}]}}'
    if category == "option":
        return f'{{"id":"{topic}-{seq}-{now_ms}","topic":"{topic}","ts":{now_ms},"data":[{trades}],"type":"snapshot"}}'
    return f'{{"topic":"{topic}","type":"snapshot","ts":{now_ms},"data":[{trades}]}}'


def liquidation_message(topic: str, symbol: str, now_ms: int, side: str, size: str, price: str) -> str:
    """One liquidated position; `side` is the position's side (trap T9)."""
    return (
        f'{{"topic":"{topic}","type":"snapshot","ts":{now_ms},'
        f'"data":[{{"T":{now_ms - 274},"s":"{symbol}","S":"{side}","v":"{size}","p":"{price}"}}]}}'
    )


def kline_message(
    topic: str, name: str, interval: Interval, candle: Candle, is_inverse: bool, confirm: bool, now_ms: int
) -> str:
    """One candle of a kline topic."""
    return (
        f'{{"topic":"{topic}","data":[{{"start":{candle.start},"end":{end_of(candle.start, interval) - 1},'
        f'"interval":"{name}","open":"{printed(candle.open)}","close":"{printed(candle.close)}",'
        f'"high":"{printed(candle.high)}","low":"{printed(candle.low)}","volume":"{printed(candle.volume)}",'
        f'"turnover":"{printed_turnover(candle, is_inverse)}","confirm":{str(confirm).lower()},'
        f'"timestamp":{candle.last_ms or candle.start}}}],"ts":{now_ms},"type":"snapshot"}}'
    )
