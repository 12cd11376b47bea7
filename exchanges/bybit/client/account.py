"""`client.account` and `client.position`: balances, positions, leverage, logs. Needs a key.

Positions have a documentation page of their own; the legacy client listed them under account: both have them.
"""

from exchanges.bybit.client.errors import AuthError
from exchanges.bybit.client.models import Position, Wallet
from exchanges.bybit.client.names import Param
from exchanges.bybit.client.results import Result, Row
from exchanges.bybit.client.service import Service
from exchanges.bybit.client.steps import M, N, Pages, Steps, endpoint, pages
from exchanges.bybit.client.times import When

PAGE_LOG, PAGE_PNL, PAGE_POSITIONS = 50, 100, 200  # the most Bybit gives


class PositionService(Service[M, N]):
    """Calls about positions, leverage, stops and risk limits."""

    @endpoint
    def get_positions(
        self,
        *,
        category: str = "linear",
        symbol: str | None = None,
        settle_coin: str | None = None,
        base_coin: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Steps[Result[Position[N]]]:
        """GET /v5/position/list: of a symbol, even when flat; else open ones of `settle_coin` (linear: USDT)."""
        if symbol is None and settle_coin is None and category == "linear":
            settle_coin = "USDT"
        coins = {"settle_coin": settle_coin, "base_coin": base_coin}
        page = {"limit": limit, "cursor": cursor}
        return self._ask("get_positions", Position, category=category, symbol=symbol, **coins, **page)

    @pages
    def iter_positions(
        self, *, category: str = "linear", settle_coin: str | None = "USDT", base_coin: str | None = None
    ) -> Pages[Position[N]]:
        """All open positions, page after page."""
        coins = {"settle_coin": settle_coin, "base_coin": base_coin}
        return self._pages("get_positions", Position, category=category, **coins, limit=PAGE_POSITIONS)

    @endpoint
    def set_leverage(
        self, *, symbol: str, buy_leverage: Param, sell_leverage: Param, category: str = "linear"
    ) -> Steps[Result[Row]]:
        """POST /v5/position/set-leverage; as it is already is a success."""
        leverages: dict[str, Param] = {"buy_leverage": buy_leverage, "sell_leverage": sell_leverage}
        return self._ask("set_leverage", Row, category=category, symbol=symbol, **leverages)

    @endpoint
    def switch_position_mode(
        self, *, mode: int, category: str = "linear", symbol: str | None = None, coin: str | None = None
    ) -> Steps[Result[Row]]:
        """POST /v5/position/switch-mode: 0 one-way, 3 hedge."""
        return self._ask("switch_position_mode", Row, category=category, symbol=symbol, coin=coin, mode=mode)

    @endpoint
    def set_trading_stop(
        self, /, *, symbol: str, category: str = "linear", position_idx: int = 0, tpsl_mode: str = "Full", **more: Param
    ) -> Steps[Result[Row]]:
        """POST /v5/position/trading-stop: take_profit, stop_loss, trailing_stop, active_price, ..."""
        more |= {"position_idx": position_idx, "tpsl_mode": tpsl_mode}
        return self._ask("set_trading_stop", Row, category=category, symbol=symbol, **more)

    @endpoint
    def set_risk_limit(
        self, *, symbol: str, risk_id: int, category: str = "linear", position_idx: int | None = None
    ) -> Steps[Result[Row]]:
        """POST /v5/position/set-risk-limit; Bybit accepts it, but sets limits by itself since 2024-03."""
        ids: dict[str, Param] = {"risk_id": risk_id, "position_idx": position_idx}
        return self._ask("set_risk_limit", Row, category=category, symbol=symbol, **ids)

    @endpoint
    def get_risk_limit(
        self, /, *, category: str = "linear", symbol: str | None = None, **more: Param
    ) -> Steps[Result[Row]]:
        """GET /v5/market/risk-limit"""
        return self._ask("get_risk_limit", Row, category=category, symbol=symbol, **more)

    @endpoint
    def get_closed_pnl(self, /, *, category: str = "linear", **more: Param) -> Steps[Result[Row]]:
        """GET /v5/position/closed-pnl: one page; symbol, start_time, end_time (a week at most), limit, cursor."""
        return self._ask("get_closed_pnl", Row, category=category, **more)

    @pages
    def iter_closed_pnl(
        self, *, start: When, end: When, category: str = "linear", symbol: str | None = None
    ) -> Pages[Row]:
        """All closed positions of any span [start, end), week after week."""
        return self._weeks("get_closed_pnl", Row, start, end, category=category, symbol=symbol, limit=PAGE_PNL)


class AccountService(PositionService[M, N]):
    """The account, and positions as `client.position` has them."""

    @endpoint
    def get_wallet_balance(self, *, account_type: str = "UNIFIED", coin: Param = None) -> Steps[Result[Wallet[N]]]:
        """GET /v5/account/wallet-balance: one wallet with its coins; `coin` may be a list."""
        return self._ask("get_wallet_balance", Wallet, account_type=account_type, coin=coin)

    @endpoint
    def get_account_info(self) -> Steps[Result[Row]]:
        """GET /v5/account/info: margin mode and the like."""
        return self._ask("get_account_info", Row)

    @endpoint
    def set_margin_mode(self, *, margin_mode: str) -> Steps[Result[Row]]:
        """POST /v5/account/set-margin-mode: ISOLATED_MARGIN, REGULAR_MARGIN or PORTFOLIO_MARGIN."""
        return self._ask("set_margin_mode", Row, setMarginMode=margin_mode)

    @endpoint
    def get_fee_rates(
        self, *, category: str = "linear", symbol: str | None = None, base_coin: str | None = None
    ) -> Steps[Result[Row]]:
        """GET /v5/account/fee-rate"""
        return self._ask("get_fee_rates", Row, category=category, symbol=symbol, base_coin=base_coin)

    @endpoint
    def get_collateral_info(self, *, currency: str | None = None) -> Steps[Result[Row]]:
        """GET /v5/account/collateral-info"""
        return self._ask("get_collateral_info", Row, currency=currency)

    @endpoint
    def get_transaction_log(
        self, /, *, category: str | None = None, account_type: str = "UNIFIED", **more: Param
    ) -> Steps[Result[Row]]:
        """GET /v5/account/transaction-log: one page; currency, type, start_time, end_time, limit, cursor."""
        return self._ask("get_transaction_log", Row, account_type=account_type, category=category, **more)

    @pages
    def iter_transaction_log(
        self, /, *, start: When, end: When, category: str | None = None, account_type: str = "UNIFIED", **more: Param
    ) -> Pages[Row]:
        """All entries of any span [start, end), week after week."""
        given = {"account_type": account_type, "category": category, "limit": PAGE_LOG, **more}
        return self._weeks("get_transaction_log", Row, start, end, **given)

    @endpoint
    def verify_credentials(self) -> Steps[bool]:
        """Whether the exchange accepts the key; False without one. Other failures are raised."""
        return self._verify()

    def _verify(self) -> Steps[bool]:
        """GET /v5/user/query-api, which any key may call; the answer has the UID, whose limits the key shares."""
        if not self.api.connection.keys:
            return False
        try:
            envelope = yield from self.api.ask("get_api_key_information", {})
        except AuthError:
            return False
        uid = envelope.result.get("userID") if isinstance(envelope.result, dict) else None
        if uid:
            self.api.limits.assign_uid(self.api.connection.api_key, str(uid))
        return True
