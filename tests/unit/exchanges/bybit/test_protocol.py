"""What a message is, from the frames of the docs and of public issues."""

import pytest

from exchanges.bybit.protocol import read_message
from model.protocol import Answer, Data, Malformed, Pong, Unknown


@pytest.mark.parametrize(
    "frame",
    [
        b'{"success":true,"ret_msg":"pong","conn_id":"0970e817","op":"ping"}',
        b'{"success":true,"ret_msg":"pong","conn_id":"465772b1","req_id":"","op":"ping"}',
        b'{"args":["1672916271846"],"op":"pong"}',
        b'{"req_id":"test","op":"pong","args":["1675418560633"],"conn_id":"cfcb4oc-1b"}',
        b'{"retCode":0,"retMsg":"OK","op":"pong","data":["1711002002529"],"connId":"cnt5leec-2v"}',
    ],
)
def test_all_five_pongs_are_pongs(frame: bytes) -> None:
    """Spot, linear, option, private, trade."""
    assert read_message(frame) == Pong()


@pytest.mark.parametrize(
    ("frame", "ack"),
    [
        (
            b'{"success":true,"ret_msg":"subscribe","conn_id":"2324d924","req_id":"s1","op":"subscribe"}',
            Answer(True, "s1", "subscribe"),
        ),
        (
            b'{"success":true,"ret_msg":"","conn_id":"3cd84cb1","req_id":"","op":"subscribe"}',
            Answer(True, "", ""),
        ),
        (
            b'{"success":true,"conn_id":"aa01","data":{"failTopics":[],"successTopics":["orderbook.100.X"]},'
            b'"type":"COMMAND_RESP"}',
            Answer(True, "", "", accepted=("orderbook.100.X",)),
        ),
        (
            b'{"success":true,"conn_id":"a","data":{"failTopics":["tickers.Y"],"successTopics":["tickers.X"]},'
            b'"type":"COMMAND_RESP"}',
            Answer(False, "", "", accepted=("tickers.X",), refused=("tickers.Y",)),
        ),
        (
            b'{"success":false,"ret_msg":"error:handler not found,topic:orderbook.500.BTCUSDT","req_id":"s1",'
            b'"op":"subscribe"}',
            Answer(
                False,
                "s1",
                "error:handler not found,topic:orderbook.500.BTCUSDT",
                named=("orderbook.500.BTCUSDT",),
            ),
        ),
        (
            b'{"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.BTCUSDT","req_id":"s2",'
            b'"op":"subscribe"}',
            Answer(
                False,
                "s2",
                "error:already subscribed,topic:publicTrade.BTCUSDT",
                named=("publicTrade.BTCUSDT",),
                is_active=True,
            ),
        ),
        (
            b'{"success":false,"ret_msg":"args size >10","op":"subscribe"}',
            Answer(False, "", "args size >10"),
        ),
        (
            b'{"success":false,"ret_msg":"Invalid topic: invalid.topic.BTCUSDT","conn_id":"c","op":"subscribe"}',
            Answer(False, "", "Invalid topic: invalid.topic.BTCUSDT", named=("invalid.topic.BTCUSDT",)),
        ),
        (b'{"success":false,"ret_msg":"boom"}', Answer(False, "", "boom")),
    ],
)
def test_every_known_answer_to_subscribe_is_read(frame: bytes, ack: Answer) -> None:
    """By market, and with what is missing missing."""
    assert read_message(frame) == ack


def test_several_named_topics_are_all_read() -> None:
    """Whether all offenders are ever listed is not known; if they are, none is overlooked."""
    ack = read_message(b'{"success":false,"ret_msg":"error:handler not found,topic:a.B,c.D","op":"subscribe"}')
    assert isinstance(ack, Answer)
    assert ack.named == ("a.B", "c.D")


def test_a_message_with_a_topic_is_data_wherever_the_topic_stands() -> None:
    """Option messages carry an id first."""
    assert read_message(b'{"id":"x","ts":1,"topic":"publicTrade.BTC","data":[]}') == Data("publicTrade.BTC")


@pytest.mark.parametrize("garbage", [b"", b"garbage", b'{"topic":', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000])
def test_garbage_is_malformed_and_never_raises(garbage: bytes) -> None:
    """Whatever it is made of."""
    assert read_message(garbage) == Malformed()


@pytest.mark.parametrize("frame", [b"[]", b"1", b"null", b'"text"', b"{}", b'{"op":"auth"}', b'{"topic":7}'])
def test_valid_json_of_no_known_shape_is_unknown(frame: bytes) -> None:
    """Counted, not guessed at."""
    assert read_message(frame) == Unknown()


@pytest.mark.parametrize(
    ("frame", "time_ms"),
    [
        (b'{"args":["1672916271846"],"op":"pong"}', 1672916271846),
        (b'{"retCode":0,"retMsg":"OK","op":"pong","data":["1711002002529"],"connId":"cnt5leec-2v"}', 1711002002529),
        (b'{"success":true,"ret_msg":"pong","conn_id":"0970e817","op":"ping"}', 0),
        (b'{"args":[],"op":"pong"}', 0),
        (b'{"args":null,"op":"pong"}', 0),
        (b'{"args":[null],"op":"pong"}', 0),
        (b'{"args":["soon"],"op":"pong"}', 0),
        (b'{"args":{"0":"1672916271846"},"op":"pong"}', 0),
    ],
)
def test_pongs_of_some_markets_have_the_exchanges_time(frame: bytes, time_ms: int) -> None:
    """Spot, linear and inverse have none."""
    pong = read_message(frame)
    assert isinstance(pong, Pong)
    assert pong.time_ms == time_ms
