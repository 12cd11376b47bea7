"""Controls of the private side: keys, limits, faults, clock, prices, balances (PRIVATE.md).

Event loop thread only. ValueError, KeyError and TypeError become HTTP 400.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .accounts import Accounts
from .auth import DEFAULT_UID, ApiKey, Keys
from .gateway import Gateway
from .matching import Matching
from .private_ws import AuthFaults, PrivateStream
from .trade_ws import TradeStream


class Clock:
    """The exchange's time, as wrong as commanded."""

    def __init__(self, true_ms: Callable[[], int]) -> None:
        self._true_ms = true_ms
        self.shift_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._true_ms() + self.shift_ms


class PrivateCommands:
    """The private controls: `commands` by POST, `questions` by GET."""

    def __init__(
        self, gateway: Gateway, keys: Keys, accounts: Accounts, matching: Matching, auth_faults: AuthFaults,
        trade: TradeStream, clock: Clock, stream: PrivateStream,
    ) -> None:  # fmt: skip
        self._gateway, self._keys, self._accounts, self._matching = gateway, keys, accounts, matching
        self._auth_faults, self._trade, self._clock, self._stream = auth_faults, trade, clock, stream
        self.commands: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "key": self._key,
            "limits": self._set_limits,
            "clock": self._shift_clock,
            "price": self._price,
            "balance": self._balance,
            "auth_fault": self._auth_fault,
            "trade_fault": self._trade_fault,
        }
        self.questions: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
            "orders": lambda query: gateway.order_counts.report(query.get("prefix", "")),
            "limits": lambda _: self._limits(),
        }

    def _key(self, body: dict[str, Any]) -> dict[str, Any]:
        permission = body.get("permission", "trade")
        if permission not in ("trade", "read"):
            raise ValueError("permission: trade or read")
        key = ApiKey(
            str(body["key"]), str(body.get("secret", "")), int(body.get("uid", DEFAULT_UID)), permission == "trade",
            bool(body.get("expired", False)), str(body.get("rsa_public_key", "")), tuple(body.get("ips", ())),
        )  # fmt: skip
        if not key.secret and not key.rsa_public_key:
            raise ValueError("give secret or rsa_public_key")
        self._keys.add(key)
        if "balances" in body:
            self._accounts.of(key.uid).set_balances({str(c): str(a) for c, a in dict(body["balances"]).items()})
        return {"key": key.key, "uid": key.uid}

    def _limits(self) -> dict[str, Any]:
        """Report requests arrived and refused; `struck` are REST faults, `pushed` private messages by topic."""
        return {
            "endpoints": self._gateway.private.limits.report(),
            "ips": self._gateway.ip.report(),
            "struck": dict(self._gateway.faults.struck),
            "pushed": dict(self._stream.pushed),
        }

    def _set_limits(self, body: dict[str, Any]) -> dict[str, Any]:
        limits = {str(path): int(limit) for path, limit in body.items() if path != "forget"}
        if any(limit < 0 for limit in limits.values()):
            raise ValueError("limits must not be negative; 0 lifts one")
        self._gateway.private.limits.set(limits)
        if body.get("forget"):
            self._gateway.private.limits.forget()
            self._gateway.ip.forget()
        return {"limits": limits}

    def _shift_clock(self, body: dict[str, Any]) -> dict[str, Any]:
        self._clock.shift_ms = int(body["shift_ms"])
        return {"now_ms": self._clock.now_ms()}

    def _price(self, body: dict[str, Any]) -> dict[str, Any]:
        """Move the market: a trade at the price happens, and resting orders fill."""
        symbol = self._matching.market.symbols[str(body.get("category", "linear")), str(body["symbol"])]
        ticks = int(Decimal(str(body["price"])) / symbol.instrument.tick)
        if ticks < 1:
            raise ValueError("price must be at least one tick")
        symbol.mid = ticks
        symbol.trade_event(self._matching.market.now_ms())
        symbol.mid = ticks
        self._matching.run()
        return {"bid": symbol.price_text(ticks), "ask": symbol.price_text(ticks + 1), "last": symbol.last_price()}

    def _balance(self, body: dict[str, Any]) -> dict[str, Any]:
        account = self._accounts.of(int(body.get("uid", DEFAULT_UID)))
        account.balances[str(body["coin"])] = Decimal(str(body["amount"]))
        return {"balances": {coin: str(amount) for coin, amount in account.balances.items()}}

    def _auth_fault(self, body: dict[str, Any]) -> dict[str, Any]:
        count = int(body.get("count", 1))
        self._auth_faults.add(str(body["channel"]), str(body.get("with", "refuse")), count)
        return {"count": count}

    def _trade_fault(self, body: dict[str, Any]) -> dict[str, Any]:
        count = int(body.get("count", 1))
        self._trade.fault(body["what"], count)
        return {"count": count}
