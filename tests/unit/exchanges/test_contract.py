"""The ports between exchanges and streams: who implements them has what they promise."""

import dataclasses
import inspect

import pytest
import websocket

from exchanges import contract
from model import ports, records
from model.context import StreamContext
from streams.connection import Connection
from streams.feed import MarketFeed
from streams.session import Session


def test_a_marker_cannot_be_changed_on_its_way() -> None:
    """It crosses from the stream thread to the aggregator's."""
    marker = records.FeedMarker("up", "linear", ("BTCUSDT",), 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        marker.at_ms = 2  # type: ignore[misc]


def members(protocol: type) -> set[str]:
    return {name for name in {**vars(protocol), **protocol.__annotations__} if not name.startswith("_")}


def test_the_link_that_streams_hands_out_is_the_contracts() -> None:
    """Streams and exchanges do not import each other; the port holds them together."""
    connection = Connection(websocket.WebSocket(), StreamContext("T"))
    for name in members(ports.Link):
        assert hasattr(connection, name), name
        wanted, given = getattr(ports.Link, name), getattr(Connection, name, None)
        if inspect.isfunction(wanted) and given is not None:
            assert list(inspect.signature(wanted).parameters) == list(inspect.signature(given).parameters), name


def test_the_session_is_a_receiver() -> None:
    """Every method that a connection calls exists, with the parameters that it passes."""
    for name in members(ports.Receiver) - {"never_blocks", "prefix", "floor", "deliver_all"}:
        wanted, given = getattr(ports.Receiver, name), getattr(Session, name)
        assert list(inspect.signature(wanted).parameters) == list(inspect.signature(given).parameters), name


def test_the_feed_of_streams_is_a_feed() -> None:
    """Main calls any venue the same way."""
    assert inspect.signature(MarketFeed.run) == inspect.signature(ports.Feed.run)


def test_the_guide_to_adding_an_exchange_stays_short() -> None:
    """Thirty lines at most."""
    assert contract.__doc__ is not None
    assert len(contract.__doc__.splitlines()) <= 30
