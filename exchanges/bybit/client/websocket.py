"""`client.websocket`: live data, private events and orders over WebSocket, on supervised threads that outlive drops.

One connection per category and kind, which further symbols join. Callbacks get each message as Bybit sent it, decoded,
on the stream's thread (coroutine functions on the event loop that subscribed): be quick, what blocks here delays its
stream. Nothing runs before `start`; what is subscribed before begins then.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import structlog

from exchanges.bybit.client.calls import Call
from exchanges.bybit.client.dispatch import Callback, Dispatch, Subscription, on_running_loop
from exchanges.bybit.client.engine import CATALOGUE, Engine
from exchanges.bybit.client.errors import AuthError, BybitError
from exchanges.bybit.client.market import interval_name
from exchanges.bybit.client.names import Param, camel_names
from exchanges.bybit.client.order import check_order, is_left_out, new_link_id, with_link_ids
from exchanges.bybit.client.private_stream import PrivateFeed
from exchanges.bybit.client.public_streams import PublicStreams
from exchanges.bybit.client.steps import SyncDriver
from exchanges.bybit.client.stream_threads import LiveSymbols, StreamThreads, dialer
from exchanges.bybit.client.trade_socket import TradeSocket, Waiting, completion_callback, copy_outcome
from exchanges.bybit.client.values import texts_of, whole_number
from exchanges.retries import PERMIT_LIMIT_S
from model.events import StatusEvent
from model.pacing import ThrottledLogger
from model.records import Kind
from model.symbols import canonical
from streams.feed import DesiredTopics

log = structlog.get_logger()

PRIVATE, TRADE = "client_private", "client_trade"


def _log_event(event: str, **fields: Any) -> None:
    log.info(f"stream_{event}" if event != "quarantined" else "stream_topic_refused", **fields)


class UserEvents:
    """An EventSink that calls `on_event` of a WebSocketService; what that raises is logged, and the stream goes on."""

    def __init__(self, service: "WebSocketService") -> None:
        self._service, self._logger = service, ThrottledLogger(log)

    def emit(self, event: StatusEvent, /) -> None:
        """Pass on one event. Stream threads."""
        fields = {name: list(value) if isinstance(value, tuple) else value for name, value in event.as_fields().items()}
        try:
            self._service.on_event(event.event, **fields)
        except Exception:  # a user's
            self._logger.exception("client_on_event_failed", event.event, about=event.event)


class WebSocketService:
    """Streams of one client. Thread safe.

    `on_event(event, **fields)` is called for `connected`, `disconnected`, `gap` and the like, see the README of the
    collector; after `connected` of the private stream, what happened before must be read by REST.
    """

    def __init__(self, api: Engine, driver: SyncDriver, pool: ThreadPoolExecutor | None = None) -> None:
        """With a `pool` no call blocks: an order waits for its permit there."""
        self.on_event: Callable[..., object] = _log_event
        self._pool, self.events = pool, UserEvents(self)
        self._api, self._driver = api, driver
        self._threads = StreamThreads()
        self._lock = threading.RLock()
        self._public = PublicStreams(self._threads, api.connection, self.events)
        self._private: tuple[LiveSymbols, Dispatch] | None = None
        self._trade: TradeSocket | None = None

    # life

    def start(self) -> None:
        """Start the streams; without effect where they run already."""
        self._threads.start()

    def stop(self) -> None:
        """Close all connections and wait for them. Subscriptions stay: `start` brings them back."""
        self._threads.stop()
        if self._trade is not None:
            self._trade.expire(float("inf"))

    def states(self) -> dict[str, str]:
        """Each connection's state by its name; "live" where its subscription works."""
        return self._threads.states()

    # public

    def subscribe_to_ticker(
        self, symbol: str | Sequence[str], callback: Callback, *, category: str = "linear"
    ) -> Subscription:
        """`tickers.*`: `message["data"]` is the whole ticker at every change."""
        return self._subscribe(category, "ticker", symbol, callback, merge=True)

    def subscribe_to_orderbook(
        self, symbol: str | Sequence[str], callback: Callback, *, depth: int = 50, category: str = "linear"
    ) -> Subscription:
        """`orderbook.{depth}.*`: a snapshot, then deltas, as they come; a new snapshot replaces everything.

        A book whose `u` jumps is subscribed anew by itself: its next message is a snapshot.
        """
        return self._subscribe(category, "orderbook", symbol, callback, depth=depth)

    def subscribe_to_trades(
        self, symbol: str | Sequence[str], callback: Callback, *, category: str = "linear"
    ) -> Subscription:
        """`publicTrade.*`; for options name base coins."""
        return self._subscribe(category, "trades", symbol, callback)

    def subscribe_to_klines(
        self, symbol: str | Sequence[str], interval: str | int, callback: Callback, *, category: str = "linear"
    ) -> Subscription:
        """`kline.{interval}.*`: the open candle every second or so, and closed with `confirm` true."""
        topics = [f"kline.{interval_name(interval)}.{name}" for name in _symbols(symbol)]
        return self.subscribe_to_topics(topics, callback, category=category)

    def subscribe_to_liquidations(
        self, symbol: str | Sequence[str], callback: Callback, *, category: str = "linear"
    ) -> Subscription:
        """`allLiquidation.*`"""
        return self._subscribe(category, "liquidations", symbol, callback)

    def subscribe_to_topics(
        self, topics: str | Sequence[str], callback: Callback, *, category: str = "linear"
    ) -> Subscription:
        """Any public topics by their names."""
        return self._subscribe(category, "topics", topics, callback)

    # private

    def subscribe_private(self, topics: str | Sequence[str], callback: Callback) -> Subscription:
        """order, execution, execution.fast, position, wallet; by category too: order.linear. Needs a key."""
        names = texts_of(topics, "topics")
        self._need_keys("subscribe_private")
        function = on_running_loop(callback)
        with self._lock:
            is_new = self._private is None
            live, dispatch = self._private_stream()
            for name in names:
                dispatch.add(name, function)
            live.replace(dict.fromkeys([*live, *names]))
            if is_new:
                self._threads.add(PRIVATE, self._run_private)
        return Subscription(lambda: self._leave_private(names, function))

    # orders

    def place_order(self, callback: Callback | None = None, error_callback: Any = None, **params: Param) -> Waiting:
        """order.create over the trading socket; parameters as `client.order.place_order`, camelCase or snake_case.

        Returns a future of the Result at once (`.result(timeout)`, or `await asyncio.wrap_future(...)`); `callback`
        gets the answer, `error_callback` the BybitError. Waits for a permit by the same limits as REST. An orderLinkId
        is made where none is given, and stands in the error's `params`.
        """
        check_order(params)
        given = camel_names(params)
        if is_left_out(given.get("orderLinkId")):
            given["orderLinkId"] = new_link_id()
        return self._order("order.create", "place_order", given, callback, error_callback)

    def amend_order(self, callback: Callback | None = None, error_callback: Any = None, **params: Param) -> Waiting:
        """order.amend, as place_order."""
        return self._order("order.amend", "amend_order", params, callback, error_callback)

    def cancel_order(self, callback: Callback | None = None, error_callback: Any = None, **params: Param) -> Waiting:
        """order.cancel, as place_order."""
        return self._order("order.cancel", "cancel_order", params, callback, error_callback)

    def place_batch_order(
        self, callback: Callback | None = None, error_callback: Any = None, **params: Param
    ) -> Waiting:
        """order.create-batch with category and request, as place_order."""
        given = {**params, "request": with_link_ids(params.get("request"))}
        return self._order("order.create-batch", "place_batch_order", given, callback, error_callback)

    # inside

    def _subscribe(
        self,
        category: str,
        kind: Kind,
        symbols: str | Sequence[str],
        callback: Callback,
        *,
        depth: int = 50,
        merge: bool = False,
    ) -> Subscription:
        levels = whole_number(depth, "depth")
        names = texts_of(symbols, "topics") if kind == "topics" else _symbols(symbols)
        joined = self._public.join(category, kind, names, on_running_loop(callback), depth=levels, merge=merge)
        return Subscription(lambda: self._public.leave(joined))

    def _need_keys(self, what: str) -> None:
        if not self._api.connection.keys:
            raise AuthError(f"{what} needs api_key and api_secret")

    def _private_stream(self) -> tuple[LiveSymbols, Dispatch]:
        if self._private is None:
            connection = self._api.connection
            self._private_feed = PrivateFeed(
                connection.private_url,
                connection.keys,
                dial=dialer(connection.proxies).open,
                now_ms=self._now_ms,
                events=self.events,
            )
            self._private = (LiveSymbols(), Dispatch())
        return self._private

    def _run_private(self) -> None:
        """The function of the private stream's thread."""
        assert self._private is not None
        live, dispatch = self._private
        desired = DesiredTopics(live, list)
        changed = desired.follow()
        self._private_feed.run(desired.topics, changed, dispatch.deliver)

    def _leave_private(self, names: Sequence[str], function: Callback) -> None:
        with self._lock:
            if self._private is None:
                return
            live, dispatch = self._private
            gone = {name for name in names if dispatch.remove(name, function)}
            left = [name for name in live if name not in gone]
            if left:
                live.replace(left)
            else:
                self._private = None
                self._threads.remove(PRIVATE)

    def _now_ms(self) -> int:
        """Exchange time; measured first where it is unknown, on the calling thread."""
        if not self._api.time.is_known:
            try:
                self._driver.run(self._api.measure_time())
            except BybitError as error:
                raise ConnectionError(f"the exchange's time is unknown: {error}") from None
        return self._api.time.now_ms()

    def _order(
        self, op: str, name: str, params: dict[str, Param], callback: Callback | None, error_callback: Any
    ) -> Waiting:
        self._need_keys(op)
        call = CATALOGUE.call(name, params)
        future = self._submit(op, call) if self._pool is None else self._submit_beside(self._pool, op, call)
        if callback is not None or error_callback is not None:
            future.add_done_callback(completion_callback(callback, error_callback))
        return future

    def _submit(self, op: str, call: Call) -> Waiting:
        """Wait for a permit and queue the request, its prices and sizes rounded for the instrument."""
        call = self._driver.run(self._api.fitted(call))
        permit = self._driver.run(self._api.acquire(call, time.monotonic() + PERMIT_LIMIT_S))
        self.start()
        return self._socket().submit(op, call, permit)

    def _submit_beside(self, pool: ThreadPoolExecutor, op: str, call: Call) -> Waiting:
        """Do as `_submit` without blocking the caller, which may be an event loop."""
        outer: Waiting = Future()

        def submit() -> None:
            try:
                self._submit(op, call).add_done_callback(lambda inner: copy_outcome(inner, outer))
            except BybitError as error:
                outer.set_exception(error)

        pool.submit(submit)
        return outer

    def _socket(self) -> TradeSocket:
        with self._lock:
            if self._trade is None:
                connection = self._api.connection
                self._trade = TradeSocket(
                    connection.trade_url,
                    connection.keys,
                    dial=dialer(connection.proxies).open,
                    now_ms=self._now_ms,
                    recv_window_ms=connection.recv_window,
                    record_answer=self._api.record_answer,
                )
                self._threads.on_tick = self._trade.expire
                self._threads.add(TRADE, self._trade.run)
            return self._trade


def _symbols(given: str | Sequence[str]) -> list[str]:
    return list(dict.fromkeys(map(canonical, texts_of(given, "symbol"))))
