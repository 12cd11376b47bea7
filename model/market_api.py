"""The port between the web server and an exchange's own REST protocol, which it may serve.

Records and Protocols only. The server owns sockets, logins and paths; a MarketApi owns what is answered, in the
exchange's own JSON: from what was collected, or passed on to the exchange. Called on the server's event loop.
"""

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from model.ports import CandleStore, ContractSizes
from model.records import Kline

FOR_EVER = math.inf


@dataclass(frozen=True)
class ApiRequest:
    """A GET request of a client that was written for the exchange. `path` is plain: no escapes, no `..`."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ApiAnswer:
    """An answer in the exchange's own form. `source`: of what was collected, or the exchange's; X-Collector says it."""

    body: bytes
    source: Literal["store", "exchange"]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Upstream(Protocol):
    """The exchange's REST API for requests that are passed on: within the process's limits, equal ones sent once."""

    def fetch(
        self, request: ApiRequest, *, keep_s: float = 0.0, weight: int = 1, epoch: int = 0
    ) -> Awaitable[ApiAnswer]:
        """Return the exchange's answer as it is, refusals too; a good one is kept for `keep_s` for equal requests.

        Equal are those of one `epoch`: of klines, the start of the open one. Who asks when it has closed never gets an
        answer that was asked for before.

        Where the exchange cannot be asked now (unreachable, limited, banned), raises HistoryError.
        """


class LiveKlines(Protocol):
    """The klines that are open now, and the moment at which the last ones are in the store. The event loop's thread."""

    def open_kline(self, market: str, symbol: str, step_ms: int, start_ms: int, /) -> Awaitable[Kline | None]:
        """Return the present state of the open kline that began at `start_ms`, or later; None where none comes in time.

        `complete`: nothing of it is known to be missing, so far.
        """

    def closed(self, market: str, symbol: str, step_ms: int, start_ms: int, /) -> Awaitable[bool]:
        """Wait until a kline that must be closing now can be read from the store; False where that takes too long."""


@dataclass(frozen=True)
class MarketApiOptions:
    """What a MarketApi answers from. `symbols(market)`: those collected now; `intervals` as the settings name them.

    `store()` None: no klines are kept. `latest(market, topic)`: the newest message of state of an exchange's own topic
    (a whole book or ticker), None where it is not kept. `contract_sizes`: what a contract is where sizes are in them.
    `now_ms`: the exchange's clock.
    """

    upstream: Upstream
    store: Callable[[], CandleStore | None] = lambda: None
    live: LiveKlines | None = None
    markets: tuple[str, ...] = ("linear",)
    intervals: tuple[str, ...] = ()
    symbols: Callable[[str], Collection[str]] = lambda _market: ()
    latest: Callable[[str, str], bytes | None] = lambda _market, _topic: None
    contract_sizes: ContractSizes = lambda _market, _symbol: None
    now_ms: Callable[[], int] = lambda: 0


class MarketApi(Protocol):
    """An exchange's public REST protocol, served to clients written for the exchange."""

    @property
    def paths(self) -> frozenset[str]:
        """The paths that are answered; one that ends with / stands for all that begin with it."""

    def answer(self, request: ApiRequest, /) -> Awaitable[ApiAnswer]:
        """Answer a request to one of `paths`; a wrong one is refused as the exchange would. Never raises."""

    def refused(self, status: int, reason: str, /) -> ApiAnswer:
        """Return the exchange's own refusal of what is never answered here: other methods, bodies, odd paths."""

    def unavailable(self, reason: str, /) -> ApiAnswer:
        """Return the exchange's own answer to one who asks too much, or cannot be answered now."""
