"""Orders, executions, positions and wallets as Bybit shows them, by REST and on the private stream.

Pure. Everything is text but what Bybit itself sends as numbers, booleans and objects.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .accounts import Account, Execution, Order, Position

STEP = Decimal("0.00000001")  # what Bybit prints of computed amounts
EXTRAS = {
    "isLeverage": "", "orderIv": "", "triggerPrice": "0.00", "takeProfit": "0.00", "stopLoss": "0.00",
    "tpTriggerBy": "UNKNOWN", "slTriggerBy": "UNKNOWN", "triggerDirection": 0, "triggerBy": "UNKNOWN",
    "closeOnTrigger": False, "smpType": "None", "tpslMode": "", "tpLimitPrice": "", "slLimitPrice": "",
    "marketUnit": "", "slippageToleranceType": "UNKNOWN", "slippageTolerance": "",
}  # fmt: skip
MAINTENANCE_SHARE = Decimal("0.05")  # of the initial margin at leverage 10
PriceOf = Callable[[str, str], Decimal]


def plain(value: Decimal) -> str:
    """Print a number: eight decimals at most, no exponent, no zeros at the end."""
    if not value:
        return "0"
    text = format(value.quantize(STEP) if value.as_tuple().exponent < -8 else value, "f")  # type: ignore[operator]
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def order_row(order: Order) -> dict[str, Any]:
    """A row of order/realtime and order/history."""
    extras = EXTRAS | {name: value for name, value in order.extras.items() if name in EXTRAS}
    average = order.cum_value / order.cum_qty if order.cum_qty else Decimal(0)
    if order.category == "inverse" and order.cum_value:
        average = order.cum_qty / order.cum_value
    return {
        "orderId": order.order_id, "orderLinkId": order.link_id, "blockTradeId": "", "symbol": order.symbol,
        "price": format(order.price, "f"), "qty": format(order.qty, "f"), "side": order.side,
        "isLeverage": str(extras["isLeverage"]), "positionIdx": order.position_idx, "orderStatus": order.status,
        "createType": "CreateByUser", "cancelType": order.cancel_type, "rejectReason": order.reject_reason,
        "avgPrice": plain(average) if order.cum_qty else "",
        "leavesQty": format(order.leaves, "f"), "leavesValue": plain(order.leaves * order.price),
        "cumExecQty": format(order.cum_qty, "f"), "cumExecValue": plain(order.cum_value),
        "cumExecFee": plain(order.cum_fee), "timeInForce": order.time_in_force, "orderType": order.order_type,
        "stopOrderType": "Stop" if "triggerPrice" in order.extras else "",
        **{name: extras[name] for name in EXTRAS if name != "isLeverage"},
        "lastPriceOnCreated": format(order.created_price, "f"), "reduceOnly": order.reduce_only,
        "smpGroup": 0, "smpOrderId": "", "placeType": "", "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms), "extraFees": "",
        "cumFeeDetail": {order.fee_coin: plain(order.cum_fee)} if order.fee_coin else {},
        "rpiTakerAccess": False, "rpiMatchedQty": "0",
    }  # fmt: skip


def order_push(order: Order) -> dict[str, Any]:
    """A message of the order topic."""
    return {
        "category": order.category, **order_row(order), "closedPnl": plain(order.closed_pnl),
        "feeCurrency": order.fee_coin, "parentOrderLinkId": "", "brokerOrderPrice": "", "ocoTriggerBy": "",
    }  # fmt: skip


def execution_row(execution: Execution) -> dict[str, Any]:
    """A row of execution/list."""
    order = execution.order
    return {
        "symbol": order.symbol, "orderType": order.order_type, "underlyingPrice": "", "orderLinkId": order.link_id,
        "side": order.side, "indexPrice": "", "orderId": order.order_id, "stopOrderType": "UNKNOWN",
        "leavesQty": format(execution.leaves, "f"), "execTime": str(execution.time_ms),
        "feeCurrency": order.fee_coin, "isMaker": execution.is_maker, "execFee": plain(execution.fee),
        "feeRate": format(execution.fee_rate, "f"), "execId": execution.exec_id, "tradeIv": "", "blockTradeId": "",
        "markPrice": format(execution.price, "f"), "execPrice": format(execution.price, "f"), "markIv": "",
        "orderQty": format(order.qty, "f"), "orderPrice": format(order.price, "f"),
        "execValue": plain(execution.value), "execType": "Trade", "execQty": format(execution.qty, "f"),
        "closedSize": plain(execution.closed_size), "extraFees": "", "seq": execution.seq,
        "createType": "CreateByUser", "execPnl": plain(execution.pnl),
    }  # fmt: skip


def closed_pnl_row(account: Account, e: Execution) -> dict[str, Any]:
    """A row of position/closed-pnl."""
    return {
        "symbol": e.order.symbol, "orderType": e.order.order_type, "updatedTime": str(e.time_ms),
        "leverage": plain(account.leverage(e.order.category, e.order.symbol)), "side": e.order.side,
        "orderId": e.order.order_id, "closedPnl": plain(e.pnl - e.fee), "avgEntryPrice": "",
        "qty": format(e.qty, "f"), "cumEntryValue": "", "createdTime": str(e.time_ms),
        "orderPrice": format(e.order.price, "f"), "closedSize": plain(e.closed_size),
        "avgExitPrice": format(e.price, "f"), "execType": "Trade", "fillCount": "1",
        "cumExitValue": plain(e.value),
    }  # fmt: skip


def execution_push(execution: Execution) -> dict[str, Any]:
    """A message of the execution topic."""
    extras = {"isLeverage": str(execution.order.extras.get("isLeverage", "0")), "marketUnit": ""}
    return {"category": execution.order.category, **execution_row(execution), **extras}


def fast_execution_push(execution: Execution) -> dict[str, Any]:
    """A message of execution.fast."""
    row = execution_push(execution)
    names = ("category", "symbol", "execId", "execPrice", "execQty", "orderId", "isMaker", "orderLinkId", "side")
    return {name: row[name] for name in (*names, "execTime", "seq")}


def position_row(account: Account, position: Position, mark: Decimal) -> dict[str, Any]:
    """A row of position/list."""
    margin = account.margin_of(position)
    maintenance = margin * MAINTENANCE_SHARE
    stops = {"takeProfit": "0.00", "stopLoss": "0.00", "trailingStop": "0.00"} | position.stops
    return {
        "positionIdx": position.idx, "riskId": 1, "riskLimitValue": "2000000", "symbol": position.symbol,
        "side": position.side, "size": format(abs(position.size), "f"), "avgPrice": plain(position.average),
        "positionValue": plain(position.value_at(position.average)) if position.size else "",
        "tradeMode": 0, "positionStatus": "Normal", "autoAddMargin": position.auto_add_margin,
        "adlRankIndicator": 2 if position.size else 0,
        "leverage": plain(account.leverage(position.category, position.symbol)),
        "breakEvenPrice": plain(position.average) if position.size else "", "positionBalance": plain(margin),
        "markPrice": format(mark, "f"), "liqPrice": "", "bustPrice": "", "positionMM": plain(maintenance),
        "positionMMByMp": plain(maintenance), "positionIM": plain(margin), "positionIMByMp": plain(margin),
        "tpslMode": "Full", **stops, "unrealisedPnl": plain(position.pnl_at(mark)) if position.size else "",
        "curRealisedPnl": plain(position.current_realised), "cumRealisedPnl": plain(position.total_realised),
        "seq": position.seq, "isReduceOnly": False, "mmrSysUpdatedTime": "", "leverageSysUpdatedTime": "",
        "sessionAvgPrice": "", "createdTime": str(position.created_ms), "updatedTime": str(position.updated_ms),
    }  # fmt: skip


def position_push(account: Account, position: Position, mark: Decimal) -> dict[str, Any]:
    """A message of the position topic, where the entry price has another name."""
    row = position_row(account, position, mark)
    row["entryPrice"] = row.pop("avgPrice")
    return {**row, "category": position.category}


def wallet_row(account: Account, price_of: PriceOf, settles: Any, coins: tuple[str, ...] = ()) -> dict[str, Any]:
    """A wallet of wallet-balance and of the wallet topic; `coins` narrows the list, not the totals."""
    rows, wallet, upnl_usd, im_usd = [], Decimal(0), Decimal(0), Decimal(0)
    for coin in list(account.balances):
        price = usd_price(coin, price_of)
        balance = account.balances[coin]
        upnl = sum(
            (p.pnl_at(price_of(p.category, p.symbol)) for p in account.positions.values() if settles(p) == coin),
            Decimal(0),
        )
        order_im, position_im = account.reserved[coin], account.position_margin(coin, settles)
        wallet, upnl_usd = wallet + balance * price, upnl_usd + upnl * price
        im_usd += (order_im + position_im) * price
        rows.append(_coin_row(coin, balance, upnl, price, order_im, position_im, account.realised[coin]))
    totals = {
        "totalEquity": wallet + upnl_usd, "totalMarginBalance": wallet + upnl_usd, "totalInitialMargin": im_usd,
        "totalInitialMarginByMp": im_usd, "totalAvailableBalance": wallet + upnl_usd - im_usd,
        "totalPerpUPL": upnl_usd, "totalWalletBalance": wallet, "totalMaintenanceMargin": im_usd * MAINTENANCE_SHARE,
        "totalMaintenanceMarginByMp": im_usd * MAINTENANCE_SHARE,
    }  # fmt: skip
    rates = dict.fromkeys(("accountIMRate", "accountIMRateByMp", "accountMMRate", "accountMMRateByMp"), "0")
    return {
        **{name: plain(value) for name, value in totals.items()}, **rates, "accountType": "UNIFIED",
        "accountLTV": "0", "coin": [row for row in rows if not coins or row["coin"] in coins],
    }  # fmt: skip


def _coin_row(
    coin: str, balance: Decimal, upnl: Decimal, price: Decimal, order_im: Decimal, position_im: Decimal, pnl: Decimal
) -> dict[str, Any]:
    return {
        "availableToBorrow": "", "bonus": "0", "accruedInterest": "0", "availableToWithdraw": "",
        "totalOrderIM": plain(order_im), "equity": plain(balance + upnl),
        "totalPositionMM": plain(position_im * MAINTENANCE_SHARE), "usdValue": plain((balance + upnl) * price),
        "spotHedgingQty": "0", "unrealisedPnl": plain(upnl), "collateralSwitch": True, "borrowAmount": "0",
        "totalPositionIM": plain(position_im), "walletBalance": plain(balance), "cumRealisedPnl": plain(pnl),
        "locked": "0", "marginCollateral": True, "coin": coin, "spotBorrow": "0",
    }  # fmt: skip


def usd_price(coin: str, price_of: PriceOf) -> Decimal:
    """The dollar price of a coin; 1 for dollars and for a coin that is not listed."""
    if coin in ("USDT", "USDC", "USD"):
        return Decimal(1)
    try:
        return price_of("spot", f"{coin}USDT")
    except KeyError:
        try:
            return price_of("linear", f"{coin}USDT")
        except KeyError:
            return Decimal(1)
