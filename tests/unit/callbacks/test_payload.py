"""What every callback does with a payload: hands on the same object, or says that nobody runs."""

import pytest

from callbacks.liquidations import handle_liquidations
from callbacks.orderbook import handle_orderbook, handle_spot_orderbook
from callbacks.payload import PayloadCallback
from callbacks.ticker import handle_spot_ticker, handle_ticker
from callbacks.trades import handle_spot_trades, handle_trades

HANDLERS = [
    (handle_trades, "trades", None),
    (handle_orderbook, "orderbook", None),
    (handle_ticker, "ticker", None),
    (handle_liquidations, "liquidations", None),
    (handle_spot_trades, "trades", "spot"),
    (handle_spot_orderbook, "orderbook", "spot"),
    (handle_spot_ticker, "ticker", "spot"),
]


@pytest.mark.parametrize(("handler", "kind", "market"), HANDLERS)
def test_handlers_know_their_kind_and_market(handler, kind, market):
    """The raw channel's name is built from these two."""
    assert (handler.kind, handler.market) == (kind, market)


def test_payload_goes_on_as_it_came():
    """The same object: no copy, no parsing, whatever the bytes are."""
    taken = []
    callback = PayloadCallback("ticker")
    callback.bind(taken.extend)
    payload = b'\xff{"no": json'
    callback(payload)

    assert taken[0] is payload


def test_many_payloads_go_on_together_in_their_order():
    """What one read brought is one call."""
    taken = []
    callback = PayloadCallback("ticker")
    callback.bind(taken.append)
    callback.take_all([b"1", b"2"])

    assert taken == [[b"1", b"2"]]


def test_kind_without_a_raw_channel_is_taken_and_forgotten():
    """RAW_STREAMS without the kind: the stream may still serve others."""
    callback = PayloadCallback("ticker")
    callback.bind(None)

    callback(b"{}")


@pytest.mark.parametrize("bound_before", [False, True])
def test_without_a_collector_a_payload_is_an_error(bound_before):
    """Before run and after it there is nowhere to go: silence would hide the mistake."""
    callback = PayloadCallback("ticker")
    if bound_before:
        callback.bind(lambda _payload: None)
        callback.unbind()

    with pytest.raises(RuntimeError, match="no collector runs"):
        callback(b"{}")


def test_handlers_say_what_they_are():
    """A log line with a callback in it is read by a person."""
    assert repr(handle_spot_ticker) == "<callback for spot ticker>"
    assert repr(handle_ticker) == "<callback for main market ticker>"
