"""The control port's commands: GET /sim/<question>, POST /sim/<command>.

Event loop thread only. The commands: the package's docstring; of Bybit's private side: bybit/PRIVATE.md.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from .engine import Engine
from .faults import Faults
from .hub import Hub
from .market import Market
from .options import KINDS
from .rest import Answer, Request
from .service import Service
from .truth import Candle, Interval, SymbolTruth, printed, printed_turnover


class CommandError(ValueError):
    """A command names something that does not exist."""


class Commands:
    """Answers /sim/."""

    def __init__(self, hub: Hub, market: Market, engine: Engine, faults: Faults, service: Service) -> None:
        self._hub, self._market, self._engine = hub, market, engine
        self.asked: Counter[str] = Counter()  # requests of clients, by path
        self._facts = {"kinds": service.kinds, "has_turnover": service.has_turnover}
        self._questions: dict[str, Callable[[dict[str, str]], Any]] = {
            "stats": lambda _: self.stats(),
            "published": lambda _: hub.published(),
            "klines": self._klines,
            "symbols": self._symbols,
            **service.questions,
        }
        self._commands: dict[str, Callable[[dict[str, Any]], Any]] = {
            "rate": self._rate,
            "limit": self._limit,
            "flood": self._flood,
            "replay": self._replay,
            "stop_market": self._stop_market,
            "refuse": self._refuse,
            "allow": self._allow,
            "restart_u": self._restart_u,
            "drop": faults.drop,
            "outage": faults.outage,
            "stall": faults.stall,
            "garbage": faults.garbage,
            "duplicate": faults.duplicate,
            "reorder": faults.reorder,
            "garble": faults.garble,
            "silence": faults.silence,
            "ban": faults.ban,
            "hole": faults.hole,
            "notice": faults.notice,
            "list": self._list,
            "delist": self._delist,
            "ratelimit": lambda body: service.refuse_rest(float(body["s"]), int(body.get("with", 0))),
            "rest_fault": service.faults.add,
            "rest_mix": service.faults.mix,
            "rest_clear": lambda _: service.faults.clear(),
            **service.commands,
        }

    def answer(self, request: Request) -> Answer:
        """200 with a report, 400 with a sentence, 404 for an unknown command."""
        name = request.path.removeprefix("/sim/")
        try:
            if request.method == "GET" and name in self._questions:
                return Answer(200, self._questions[name](request.query))
            if "" in request.body:
                return Answer(400, {"error": "the body must be a JSON object"})
            if request.method == "POST" and name in self._commands:
                return Answer(200, self._commands[name](request.body))
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            return Answer(400, {"error": f"{name}: {error!r}"})
        return Answer(404, {"error": f"no such command: {request.method} {name}"})

    def stats(self) -> dict[str, Any]:
        """All counters so far."""
        self._market.fold()
        return {
            **self._hub.stats(),
            **self._facts,
            "asked": dict(self.asked),
            "rate": self._market.rate,
            "rates": self._market.rates,
            "stopped": self._engine.is_stopped,
            "flood_left": self._engine.flood_left,
            "replay": self._engine.replay.report(),
            "trades": sum(s.truth.trade_count for s in self._market.symbols.values()),
            "now_ms": self._market.now_ms(),
        }

    # the market

    def _rate(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"rate": total} keeps the mix, {"trades": n, ...} sets single kinds."""
        rates = {kind: float(rate) for kind, rate in body.items() if kind in KINDS}
        if "rate" in body:
            rates = self._market.mix_of(float(body["rate"]))
        if not rates or any(rate < 0 for rate in rates.values()):
            raise CommandError("give rate or one of " + ", ".join(KINDS))
        self._market.set_rates(rates)
        return {"rates": self._market.rates}

    def _limit(self, body: dict[str, Any]) -> dict[str, Any]:
        """{"messages": n}: stop after n more generated messages; null lifts it."""
        count = body["messages"]
        self._hub.limit = None if count is None else self._hub.generated + int(count)
        return {"limit": self._hub.limit, "generated": self._hub.generated}

    def _flood(self, body: dict[str, Any]) -> dict[str, Any]:
        self._engine.flood_left = int(body["messages"])
        self._engine.flood_waits_for = int(body.get("when_subscribed", 1))
        return {"flood_left": self._engine.flood_left}

    def _replay(self, _body: dict[str, Any]) -> dict[str, Any]:
        if not self._engine.replay.is_loaded:
            raise CommandError("no file with payloads was given by --replay")
        self._engine.replay.start()
        return self._engine.replay.report()

    def _stop_market(self, _body: dict[str, Any]) -> dict[str, Any]:
        """No data message after this; the answer is the final count."""
        self._engine.stop()
        return self.stats()

    def _refuse(self, body: dict[str, Any]) -> dict[str, Any]:
        """Topics or symbols become unknown; clients that have them subscribed keep them."""
        self._market.refused |= set(body["topics"])
        return {"refused": sorted(self._market.refused)}

    def _allow(self, body: dict[str, Any]) -> dict[str, Any]:
        self._market.refused -= set(body.get("topics", self._market.refused))
        return {"refused": sorted(self._market.refused)}

    def _restart_u(self, body: dict[str, Any]) -> dict[str, Any]:
        """u == 1 snapshots on all subscribed books, or on those of one symbol."""
        now_ms, symbol = self._market.now_ms(), body.get("symbol")
        chosen = [s for (_, name), s in self._market.symbols.items() if symbol in (None, name)]
        return {"snapshots": sum(market.restart_books(now_ms) for market in chosen)}

    def _list(self, body: dict[str, Any]) -> dict[str, Any]:
        """A new symbol of "category", or "symbol" again after a delisting."""
        symbol = self._market.list_symbol(str(body.get("category", "linear")), body.get("symbol"))
        return {"symbol": symbol.instrument.symbol}

    def _delist(self, body: dict[str, Any]) -> dict[str, Any]:
        symbol = self._market.delist(str(body.get("category", "linear")), str(body["symbol"]))
        return {"symbol": symbol.instrument.symbol}

    def _symbols(self, query: dict[str, str]) -> dict[str, Any]:
        category = query.get("category", "linear")
        return {"category": category, "list": [name for known, name in self._market.symbols if known == category]}

    # the truth

    def _klines(self, query: dict[str, str]) -> dict[str, Any]:
        """Closed candles, oldest first; `interval` in milliseconds, or M."""
        key = (query.get("category", "linear"), query["symbol"])
        symbol = self._market.symbols.get(key) or self._market.delisted.get(key)
        if symbol is None:
            raise CommandError(f"no such symbol: {key}")
        interval: Interval = "M" if query["interval"] == "M" else int(query["interval"])
        start, end = int(query.get("start", 0)), int(query.get("end", 1 << 62))
        candles = symbol.truth.closed(interval, self._market.now_ms())
        return {
            "category": key[0],
            "symbol": key[1],
            "interval": query["interval"],
            "list": [printed_candle(c, symbol.truth) for c in candles if start <= c.start <= end],
        }


def printed_candle(candle: Candle, truth: SymbolTruth) -> dict[str, Any]:
    """A candle with its numbers as plain decimal text; the volume in base coins, in dollars where inverse."""
    size = truth.contract_size
    candle = candle if size == 1 else candle._replace(volume=candle.volume * size)
    plain = {name: printed(getattr(candle, name)) for name in ("open", "high", "low", "close", "volume")}
    turnover = printed_turnover(candle, truth.rule.is_inverse)
    return {"start": candle.start, **plain, "turnover": turnover, "trade_count": candle.trade_count}
