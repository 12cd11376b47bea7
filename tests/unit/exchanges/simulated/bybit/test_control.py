"""Control frames, per category as documented."""

import pytest

from exchanges.simulated.bybit.topics import MAX_ARGS_CHARACTERS

from .conftest import Harness


def test_spot_ack_has_op_subscribe_and_repeats_a_given_req_id(harness: Harness) -> None:
    """Spot's ack is its own shape."""
    answer = harness.ask(harness.client("spot"), op="subscribe", req_id="s1", args=["publicTrade.BTCUSDT"])[-1]
    assert list(answer) == ["success", "ret_msg", "conn_id", "req_id", "op"]
    assert (answer["ret_msg"], answer["req_id"], answer["op"]) == ("subscribe", "s1", "subscribe")


def test_spot_ack_without_req_id_has_none(harness: Harness) -> None:
    """As recorded."""
    answer = harness.ask(harness.client("spot"), op="subscribe", args=["publicTrade.BTCUSDT"])[-1]
    assert list(answer) == ["success", "ret_msg", "conn_id", "op"]


@pytest.mark.parametrize(("category", "symbol"), [("linear", "BTCUSDT"), ("inverse", "BTCUSD")])
def test_derivative_ack_has_an_empty_message_and_always_a_req_id(harness: Harness, category: str, symbol: str) -> None:
    """An unsent req_id comes back as empty text."""
    answer = harness.ask(harness.client(category), op="subscribe", args=[f"publicTrade.{symbol}"])[-1]
    assert (answer["success"], answer["ret_msg"], answer["req_id"]) == (True, "", "")


def test_option_ack_is_a_command_response(harness: Harness) -> None:
    """Option trades go by base coin."""
    answer = harness.ask(harness.client("option"), op="subscribe", args=["publicTrade.BTC"])[-1]
    assert answer["type"] == "COMMAND_RESP"
    assert answer["data"] == {"failTopics": [], "successTopics": ["publicTrade.BTC"]}


def test_pongs_differ_per_category(harness: Harness) -> None:
    """Three of the five shapes a client may meet."""
    spot, linear, option = (
        harness.ask(harness.client(category), op="ping", req_id="7") for category in ("spot", "linear", "option")
    )
    assert spot == [{"success": True, "ret_msg": "pong", "conn_id": "conn-1", "op": "ping"}]
    assert linear == [{"success": True, "ret_msg": "pong", "conn_id": "conn-1", "req_id": "7", "op": "ping"}]
    assert option == [{"args": [str(harness.now_ms)], "op": "pong"}]


def test_first_snapshot_comes_before_the_ack(harness: Harness) -> None:
    """A careless client loses it (trap T3)."""
    answers = harness.ask(harness.client("linear"), op="subscribe", args=["orderbook.50.BTCUSDT", "tickers.BTCUSDT"])
    assert [answer.get("type") for answer in answers] == ["snapshot", "snapshot", None]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("orderbook.500.BTCUSDT", "error:handler not found,topic:orderbook.500.BTCUSDT"),
        ("publicTrade.NOPEUSDT", "error:handler not found,topic:publicTrade.NOPEUSDT"),
        ("tickers.SOLUSDT", "error:already subscribed,topic:tickers.SOLUSDT"),
    ],
)
def test_one_bad_topic_refuses_its_neighbours(harness: Harness, bad: str, said: str) -> None:
    """Batches are atomic (trap T2)."""
    session = harness.subscribe("linear", "tickers.SOLUSDT")
    answers = harness.ask(session, op="subscribe", args=["publicTrade.BTCUSDT", bad, "orderbook.1.BTCUSDT"])
    assert [(a["success"], a["ret_msg"]) for a in answers] == [(False, said)]
    assert list(session.topics) == ["tickers.SOLUSDT"]


def test_spot_takes_ten_args_a_frame(harness: Harness) -> None:
    """Eleven are refused whole, ten are fine."""
    topics = [f"orderbook.{d}.{s}USDT" for s in ("BTC", "ETH", "SOL") for d in (1, 50, 200, 1000)][:11]
    session = harness.client("spot")
    assert harness.ask(session, op="subscribe", args=topics)[-1]["ret_msg"] == "args size >10"
    assert harness.ask(session, op="subscribe", args=topics[:10])[-1]["success"] is True


def test_connection_takes_21000_characters(harness: Harness) -> None:
    """The sum over frames counts, and unsubscribing gives characters back."""
    session = harness.subscribe("linear", "publicTrade.BTCUSDT")
    session.characters = MAX_ARGS_CHARACTERS - 10
    assert "args length" in harness.ask(session, op="subscribe", args=["tickers.BTCUSDT"])[-1]["ret_msg"]
    assert harness.ask(session, op="unsubscribe", args=["publicTrade.BTCUSDT"])[-1]["success"] is True
    assert harness.ask(session, op="subscribe", args=["tickers.BTCUSDT"])[-1]["success"] is True


def test_refused_topics_are_unknown_until_allowed(harness: Harness) -> None:
    """A symbol's name refuses all its topics."""
    harness.market.refused = {"BTCUSDT"}
    assert not harness.ask(harness.client("linear"), op="subscribe", args=["publicTrade.BTCUSDT"])[-1]["success"]
    harness.market.refused = set()
    assert harness.ask(harness.client("linear"), op="subscribe", args=["publicTrade.BTCUSDT"])[-1]["success"]


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"op":"dance"}', '{"op":"subscribe","args":"x"}'])
def test_nonsense_is_answered_not_raised(harness: Harness, text: str) -> None:
    """Whatever a client sends."""
    session = harness.client("linear")
    harness.control.handle(session, text)
    assert len(session.pending) == 1


def test_unsubscribed_topic_is_silent(harness: Harness) -> None:
    """And the ack names the op."""
    session = harness.subscribe("linear", "publicTrade.BTCUSDT")
    assert harness.ask(session, op="unsubscribe", args=["publicTrade.BTCUSDT"])[-1]["op"] == "unsubscribe"
    harness.run(500)
    assert not session.pending
