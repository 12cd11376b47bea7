"""exchanges.bybit.dialect: what needs no server."""

import pytest

from exchanges.bybit.dialect.dialect import BybitDialect
from model.dialect import DialectOptions

PAYLOAD = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot"}'


@pytest.mark.parametrize(
    ("payload", "topic"),
    [(PAYLOAD, "publicTrade.BTCUSDT"), (b'{"ts":1, "topic" : "tickers.X"}', "tickers.X"), (b"", ""), (b"{}", "")],
)
def test_the_topic_of_a_payload_is_found(payload, topic):
    """First in the message as Bybit has it, or anywhere."""
    assert BybitDialect(DialectOptions()).topic_of(payload) == topic
