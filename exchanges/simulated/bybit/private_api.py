"""Private REST: authentication, limits and routing of requests (BYBIT_V5.md sections 2, 6 and 8).

Event loop thread only. Batches cost as many requests as they hold orders.
"""

import time
import uuid
from collections.abc import Callable
from typing import Any

from ..rest import Answer, Request
from .accounts import Account, Accounts
from .auth import ApiKey, AuthError, Keys
from .orders import OrderDesk
from .positions import Positions
from .private_lists import PrivateLists
from .rest_limits import UidLimits, Verdict
from .rules import OrderError

RATE_LIMITED = (10006, "Too many visits. Exceeded the API Rate Limit.")
NO_ROUTE = (10017, "Route not found.")
MAX_BATCH = {"spot": 10}
MAX_BATCH_OTHERS = 20
Command = Callable[[Account, dict[str, Any]], dict[str, Any]]


class PrivateApi:
    """GET and POST of all endpoints that need a key. `take` and `run` serve the trade socket too."""

    def __init__(
        self, keys: Keys, accounts: Accounts, desk: OrderDesk, lists: PrivateLists, positions: Positions,
        limits: UidLimits, now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._keys, self._accounts, self._desk = keys, accounts, desk
        self.limits, self._now_ms = limits, now_ms
        self._gets: dict[str, Command] = {**lists.routes, **positions.lists}
        self._posts: dict[str, Command] = {
            "/v5/order/create": desk.create,
            "/v5/order/amend": desk.amend,
            "/v5/order/cancel": desk.cancel,
            "/v5/order/cancel-all": desk.cancel_all,
            "/v5/order/pre-check": self._pre_check,
            **positions.commands,
        }
        self._batches = {f"/v5/order/{op}-batch": f"/v5/order/{op}" for op in ("create", "amend", "cancel")}

    def has_endpoint(self, path: str) -> bool:
        """Whether there is such an endpoint."""
        return path in self._gets or path in self._posts or path in self._batches or path == "/v5/user/query-api"

    def answer(self, request: Request) -> Answer:
        """Answer a request, with its limit headers."""
        is_get = request.method == "GET"
        if not self.has_endpoint(request.path) or is_get is (
            request.path in self._posts or request.path in self._batches
        ):
            return self._enveloped(*NO_ROUTE, {}, status=404)
        try:
            key = self._keys.check_request(request, self._now_ms())
        except AuthError as error:
            if error.code == 401:
                return Answer(401, "")
            return self._enveloped(error.code, error.message, {})
        params = request.query if is_get else request.body
        verdict = self.take(key.uid, request.method, request.path, params)
        if verdict.is_refused:
            return self._enveloped(*RATE_LIMITED, {}, verdict)
        if request.path == "/v5/user/query-api":
            return self._enveloped(0, "", _key_report(key), verdict)
        code, message, result, extra = self.run(key.uid, request.path, params)
        return self._enveloped(code, message, result, verdict, extra)

    def take(self, uid: int, method: str, path: str, params: dict[str, Any]) -> Verdict:
        """Count one request against the limits of its UID."""
        orders = params.get("request")
        cost = max(1, len(orders)) if path in self._batches and isinstance(orders, list) else 1
        return self.limits.take(uid, method, path, str(params.get("category", "")), time.monotonic(), cost)

    def run(self, uid: int, path: str, params: dict[str, Any]) -> tuple[int, str, dict[str, Any], dict[str, Any]]:
        """Carry a request out: retCode, retMsg, result, retExtInfo."""
        account = self._accounts.of(uid)
        if "" in params:
            return 10001, "request parameter err: the body is no JSON object", {}, {}
        try:
            if path in self._batches:
                return self._batch(account, self._posts[self._batches[path]], params)
            command = self._gets.get(path) or self._posts[path]
            return 0, "OK", command(account, params), {}
        except OrderError as error:
            return error.code, error.message, {}, {}
        except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
            return 10001, f"params error: {error}", {}, {}

    def _batch(
        self, account: Account, command: Command, params: dict[str, Any]
    ) -> tuple[int, str, dict[str, Any], dict[str, Any]]:
        """Carry a batch out: each order succeeds or fails on its own, the envelope is OK."""
        category, orders = str(params.get("category", "")), params.get("request")
        most = MAX_BATCH.get(category, MAX_BATCH_OTHERS)
        if not isinstance(orders, list) or not 0 < len(orders) <= most:
            raise OrderError(10001, f"params error: request must hold 1 to {most} orders")
        rows, verdicts = [], []
        for order in orders:
            row = {"category": category, "symbol": str(order.get("symbol", "")), "orderId": "", "createAt": ""}
            row["orderLinkId"] = str(order.get("orderLinkId") or "")
            try:
                row |= command(account, {**order, "category": category})
                row["createAt"] = str(self._now_ms())
                verdicts.append({"code": 0, "msg": "OK"})
            except OrderError as error:
                verdicts.append({"code": error.code, "msg": error.message})
            rows.append(row)
        return 0, "OK", {"list": rows}, {"list": verdicts}

    def _pre_check(self, _account: Account, body: dict[str, Any]) -> dict[str, Any]:
        self._desk.symbol(str(body.get("category", "")), body.get("symbol"))
        rates = dict.fromkeys(("preImrE4", "preMmrE4", "postImrE4", "postMmrE4"), 0)
        return {"orderId": str(uuid.uuid4()), "orderLinkId": str(body.get("orderLinkId") or ""), **rates}

    def _enveloped(
        self, code: int, message: str, result: dict[str, Any], verdict: Verdict | None = None,
        extra: dict[str, Any] | None = None, status: int = 200,
    ) -> Answer:  # fmt: skip
        now_ms = self._now_ms()
        headers = verdict.headers(now_ms) if verdict is not None else ()
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": extra or {}, "time": now_ms}
        return Answer(status, body, (*headers, ("Timenow", str(now_ms)), ("Traceid", uuid.uuid4().hex)))


def _key_report(key: ApiKey) -> dict[str, Any]:
    """A key as user/query-api shows it; never the secret."""
    trades = {"ContractTrade": ["Order", "Position"], "Spot": ["SpotTrade"], "Derivatives": ["DerivativesTrade"]}
    lists: dict[str, list[str]] = {name: [] for name in ("Options", "CopyTrading", "BlockTrade", "NFT", "Earn")}
    return {
        "id": str(key.uid), "note": "simulated", "apiKey": key.key, "readOnly": 0 if key.may_trade else 1, "secret": "",
        "permissions": {**trades, "Wallet": ["AccountTransfer"], "Exchange": ["ExchangeHistory"], **lists},
        "ips": list(key.ips) or ["*"], "type": 1, "deadlineDay": 60, "expiredAt": "2099-01-01T00:00:00Z",
        "createdAt": "2025-10-13T03:20:45Z", "unified": 0, "uta": 1, "userID": key.uid, "inviterID": 0,
        "vipLevel": "No VIP", "mktMakerLevel": "0", "affiliateID": 0, "rsaPublicKey": key.rsa_public_key,
        "isMaster": True, "parentUid": "0", "kycLevel": "LEVEL_DEFAULT", "kycRegion": "",
    }  # fmt: skip
