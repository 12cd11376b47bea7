"""Subscriptions: refusals, bisection, quarantine, deadlines. Time is an argument."""

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.batches import batches
from model.protocol import Answer, StreamLimits
from streams.subscription import Change, Quarantine, Request, SubscribeTimeoutError, Subscription
from tests.support.protocol import protocol_of

RETRY_S = 300.0


def subscription(topics: list[str], quarantine: Quarantine | None = None, market: str = "linear") -> Subscription:
    plan = functools.partial(batches, limits=protocol_of(market).limits)
    return Subscription(topics, plan, quarantine or Quarantine(RETRY_S), timeout_s=10)


def ok(request: Request, **change: object) -> Answer:
    return Answer(**{"success": True, "req_id": request.req_id, "message": "", **change})  # type: ignore[arg-type]


def no(request: Request, *named: str, **change: object) -> Answer:
    return Answer(**{"success": False, "req_id": request.req_id, "message": "no", "named": named, **change})  # type: ignore[arg-type]


def test_an_acknowledged_batch_is_active() -> None:
    """The plain case."""
    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    assert request.topics == ("t.A", "t.B")
    assert not sub.is_settled
    assert sub.answered(ok(request), 1).active == ("t.A", "t.B")
    assert sub.is_settled


def test_every_batch_has_a_req_id_of_its_own() -> None:
    """Answers come in any order."""
    sub = subscription([f"t.C{i}" for i in range(25)], market="spot")
    first, second, third = sub.begin(0).send
    assert sub.answered(ok(third), 1).active == third.topics
    assert sub.answered(ok(first), 1).active == first.topics
    assert not sub.is_settled
    assert sub.answered(ok(second), 1).active == second.topics
    assert sub.is_settled


def test_a_named_topic_is_quarantined_and_the_rest_subscribed_again() -> None:
    """One bad topic refuses its neighbours: they must not stay silent."""
    sub = subscription(["t.A", "t.BAD", "t.C"])
    (request,) = sub.begin(0).send
    change = sub.answered(no(request, "t.BAD"), 1)
    assert change.refused == (("t.BAD", "no"),)
    (again,) = change.send
    assert again.topics == ("t.A", "t.C")
    assert again.req_id != request.req_id
    assert sub.answered(ok(again), 2).active == ("t.A", "t.C")


def test_without_a_name_the_batch_is_halved() -> None:
    """Until the bad one stands alone."""
    sub = subscription(["t.A", "t.B", "t.C"])
    (request,) = sub.begin(0).send
    left, right = sub.answered(no(request), 1).send
    assert (left.topics, right.topics) == (("t.A", "t.B"), ("t.C",))
    assert sub.answered(no(right), 2).refused == (("t.C", "no"),)
    assert sub.answered(ok(left), 2).active == ("t.A", "t.B")


def test_already_subscribed_counts_as_success_and_the_rest_is_subscribed_again() -> None:
    """The topic is active, its batch was not applied."""
    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    change = sub.answered(no(request, "t.A", is_active=True), 1)
    assert change.active == ("t.A",)
    assert change.refused == ()
    assert change.send[0].topics == ("t.B",)


def test_options_partial_answer_splits_the_batch() -> None:
    """failTopics and successTopics, and no req_id."""
    sub = subscription(["t.A", "t.B"])
    sub.begin(0)
    change = sub.answered(Answer(False, "", "", accepted=("t.A",), refused=("t.B",)), 1)
    assert (change.active, change.refused, change.send) == (("t.A",), (("t.B", ""),), ())
    assert sub.is_settled


def test_an_answer_without_req_id_is_the_oldest_requests() -> None:
    """They are answered in order."""
    sub = subscription([f"t.C{i}" for i in range(20)], market="spot")
    first, second = sub.begin(0).send
    assert sub.answered(Answer(True, "", ""), 1).active == first.topics
    assert sub.answered(Answer(True, "", ""), 1).active == second.topics


def test_an_unknown_req_id_changes_nothing() -> None:
    """The answer to another request."""
    sub = subscription(["t.A"])
    sub.begin(0)
    assert sub.answered(Answer(True, "other", ""), 1) == Change()
    assert not sub.is_settled


def test_data_before_the_answer_makes_its_topic_active_once() -> None:
    """The snapshot may overtake the acknowledgement."""
    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    assert sub.data_received("t.A").active == ("t.A",)
    assert sub.data_received("t.A").active == ()
    assert sub.data_received("t.other").active == ()
    assert sub.answered(ok(request), 1).active == ("t.B",)


def test_no_answer_within_the_deadline_ends_the_connection() -> None:
    """An open socket is not a subscription."""
    sub = subscription(["t.A"])
    sub.begin(0)
    assert sub.due(9.9) == Change()
    with pytest.raises(SubscribeTimeoutError, match="no answer to subscribe within 10 s"):
        sub.due(10)


def test_data_stands_for_a_lost_answer() -> None:
    """A batch is atomic: data of one topic proves all."""
    sub = subscription(["t.A", "t.B"])
    sub.begin(0)
    sub.data_received("t.A")
    assert sub.due(10).active == ("t.B",)
    assert sub.is_settled


def test_a_quarantined_topic_is_subscribed_again_alone_after_its_time() -> None:
    """It may be listed meanwhile, and must not take others along."""
    sub = subscription(["t.A", "t.BAD"])
    (request,) = sub.begin(0).send
    (again,) = sub.answered(no(request, "t.BAD"), 0).send
    sub.answered(ok(again), 0)
    assert sub.due(RETRY_S - 1) == Change()
    (retry,) = sub.due(RETRY_S).send
    assert retry.topics == ("t.BAD",)
    assert sub.due(RETRY_S + 1) == Change()
    assert sub.answered(ok(retry), RETRY_S + 1).active == ("t.BAD",)


def test_a_topic_is_reported_when_it_goes_into_quarantine_and_not_at_every_retry() -> None:
    """Refused again after its time it is where it was; once it was accepted, a refusal is new again."""
    quarantine = Quarantine(RETRY_S)
    sub = subscription(["t.BAD"], quarantine)
    (request,) = sub.begin(0).send
    assert sub.answered(no(request), 0).quarantined == (("t.BAD", "no"),)
    (retry,) = sub.due(RETRY_S).send
    change = sub.answered(no(retry), RETRY_S)
    assert (change.refused, change.quarantined) == ((("t.BAD", "no"),), ())
    (retry,) = sub.due(2 * RETRY_S).send
    sub.answered(ok(retry), 2 * RETRY_S)
    again = subscription(["t.BAD"], quarantine)
    (request,) = again.begin(2 * RETRY_S).send
    assert again.answered(no(request), 2 * RETRY_S).quarantined == (("t.BAD", "no"),)


def test_a_topic_is_resubscribed_alone() -> None:
    """The second message waits for the answer to the first; its neighbour stays as it is."""
    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    sub.answered(ok(request), 0)
    change = sub.resubscribe("t.A", 1)
    assert change is not None
    (leave,) = change.send
    assert (leave.op, leave.topics, sub.active) == ("unsubscribe", ("t.A",), {"t.B"})
    (again,) = sub.answered(ok(leave, is_unsubscribe=True), 2).send
    assert (again.op, again.topics) == ("subscribe", ("t.A",))
    assert sub.answered(ok(again), 3).active == ("t.A",)
    assert sub.is_settled


@pytest.mark.parametrize("ack", [Answer(True, "", "", is_unsubscribe=True), Answer(True, "", "", accepted=("t.A",))])
def test_leaving_may_be_answered_without_a_req_id(ack: Answer) -> None:
    """By its op, or for options by the topics it lists."""
    sub = subscription(["t.A"])
    (request,) = sub.begin(0).send
    sub.answered(ok(request), 0)
    sub.resubscribe("t.A", 1)
    assert sub.answered(ack, 2).send[0].topics == ("t.A",)
    assert sub.answered(ack, 2).send == ()


def test_leaving_without_an_answer_has_a_deadline() -> None:
    """The topic is subscribed all the same; the answer "already subscribed" makes it active."""
    sub = subscription(["t.A"])
    (request,) = sub.begin(0).send
    sub.answered(ok(request), 0)
    sub.resubscribe("t.A", 1)
    assert sub.due(10.9) == Change()
    (again,) = sub.due(11).send
    assert sub.answered(no(again, "t.A", is_active=True), 12).active == ("t.A",)


def test_a_topic_that_is_not_active_or_awaits_an_answer_is_not_left() -> None:
    """One conversation per topic at a time."""
    sub = subscription(["t.A"])
    assert sub.resubscribe("t.A", 0) is None
    sub.begin(0)
    sub.data_received("t.A")
    assert sub.resubscribe("t.A", 0) is None


def test_an_unanswered_retry_costs_the_others_nothing() -> None:
    """It goes back to quarantine; the connection stays."""
    sub = subscription(["t.BAD", "t.A"])
    (request,) = sub.begin(0).send
    (again,) = sub.answered(no(request, "t.BAD"), 0).send
    sub.answered(ok(again), 0)
    sub.due(RETRY_S)
    assert sub.due(RETRY_S + 10).refused == (("t.BAD", "no answer"),)
    assert sub.is_settled


def test_quarantine_outlives_the_connection() -> None:
    """A reconnect does not subscribe the bad topic at once, but when its time is over."""
    quarantine = Quarantine(RETRY_S)
    quarantine.put("t.BAD", 0)
    sub = subscription(["t.A", "t.BAD"], quarantine)
    assert sub.begin(10).send[0].topics == ("t.A",)
    (retry,) = subscription(["t.BAD"], quarantine).begin(RETRY_S + 1).send
    assert retry.topics == ("t.BAD",)


def test_with_every_topic_in_quarantine_nothing_is_sent() -> None:
    """The connection stays for the retry."""
    quarantine = Quarantine(RETRY_S)
    quarantine.put("t.BAD", 0)
    sub = subscription(["t.BAD"], quarantine)
    assert sub.begin(10) == Change()
    assert sub.is_settled
    assert sub.due(RETRY_S + 10).send[0].topics == ("t.BAD",)


@given(
    st.lists(st.booleans(), min_size=1, max_size=40),
    st.booleans(),
    st.sampled_from(["spot", "linear"]),
)
def test_any_mix_of_good_and_bad_ends_with_exactly_the_good_active(good: list[bool], named: bool, market: str) -> None:
    """Whether the exchange names the offender or not, within a bounded number of messages."""
    topics = [f"t.{'G' if is_good else 'BAD'}{i}" for i, is_good in enumerate(good)]
    sub = subscription(topics, market=market)
    queue, sent = list(sub.begin(0).send), 0
    while queue:
        request = queue.pop(0)
        sent += 1
        bad = [topic for topic in request.topics if "BAD" in topic]
        ack = no(request, *(bad[:1] if named else ())) if bad else ok(request)
        queue += sub.answered(ack, 1).send
    assert sub.active == {topic for topic in topics if "G" in topic}
    assert sub.is_settled
    assert sent <= 2 * len(topics) + 5


# -- other topics wanted while it runs ----------------------------------------------------------------------------


def settled(topics: list[str], quarantine: Quarantine | None = None, market: str = "linear") -> Subscription:
    """A subscription of which every topic is active."""
    sub = subscription(topics, quarantine, market)
    for request in sub.begin(0).send:
        sub.answered(ok(request), 0)
    assert sub.is_settled
    return sub


def test_new_topics_are_subscribed_and_others_unsubscribed() -> None:
    """The topics that stay are in no request; one is unsubscribed when the exchange has answered."""
    sub = settled(["t.A", "t.B"])
    leave, ask = sub.set_topics(["t.B", "t.C"], 1).send
    assert (leave.op, leave.topics, ask.op, ask.topics) == ("unsubscribe", ("t.A",), "subscribe", ("t.C",))
    assert sub.active == {"t.A", "t.B"}
    assert sub.answered(ok(leave, is_unsubscribe=True), 2).unsubscribed == ("t.A",)
    assert sub.answered(ok(ask), 2).active == ("t.C",)
    assert sub.active == {"t.B", "t.C"}
    assert sub.due(1000) == Change()


def test_the_same_again_sends_nothing() -> None:
    """Order and repetition are no change."""
    assert settled(["t.A", "t.B"]).set_topics(["t.B", "t.A"], 1) == Change()


def test_wanted_messages_keep_the_limit_of_args() -> None:
    """Spot takes ten in a message, to leave as well."""
    sub = settled([f"t.C{i}" for i in range(25)], market="spot")
    sent = sub.set_topics([f"t.D{i}" for i in range(15)], 1).send
    assert [(request.op, len(request.topics)) for request in sent] == [
        *[("unsubscribe", 10)] * 2,
        ("unsubscribe", 5),
        ("subscribe", 10),
        ("subscribe", 5),
    ]


def test_a_topic_wanted_again_before_it_is_left_comes_back() -> None:
    """It was away, however short: it goes and comes."""
    sub = settled(["t.A", "t.B"])
    (leave,) = sub.set_topics(["t.B"], 1).send
    assert sub.set_topics(["t.A", "t.B"], 2) == Change()
    change = sub.answered(ok(leave, is_unsubscribe=True), 3)
    assert (change.unsubscribed, change.send[0].topics) == (("t.A",), ("t.A",))
    assert sub.answered(ok(change.send[0]), 4).active == ("t.A",)


def test_a_topic_not_wanted_any_more_before_it_is_there_is_left_then() -> None:
    """Its acknowledgement is on the way: leaving before it would cross it."""
    sub = settled(["t.A"])
    (ask,) = sub.set_topics(["t.A", "t.B"], 1).send
    assert sub.set_topics(["t.A"], 2) == Change()
    change = sub.answered(ok(ask), 3)
    assert (change.active, change.send[0].op, change.send[0].topics) == (("t.B",), "unsubscribe", ("t.B",))


def test_a_new_topic_without_an_answer_does_not_cost_the_connection() -> None:
    """Its neighbours have worked for weeks."""
    sub = settled(["t.A"])
    sub.set_topics(["t.A", "t.B"], 1)
    assert sub.due(12).refused == (("t.B", "no answer"),)
    assert sub.active == {"t.A"}


def test_an_unanswered_leave_is_taken_for_done() -> None:
    """No request waits for ever."""
    sub = settled(["t.A", "t.B"])
    sub.set_topics(["t.B"], 1)
    assert sub.due(12).unsubscribed == ("t.A",)


def test_a_refused_leave_of_several_is_done_one_by_one() -> None:
    """One of them the exchange has forgotten: the others must not go on coming."""
    sub = settled(["t.A", "t.B", "t.C"])
    (leave,) = sub.set_topics(["t.C"], 1).send
    first, second = sub.answered(no(leave, is_unsubscribe=True), 2).send
    assert (first.topics, second.topics) == (("t.A",), ("t.B",))
    assert sub.answered(no(first, is_unsubscribe=True), 3).unsubscribed == ("t.A",)
    assert sub.answered(ok(second, is_unsubscribe=True), 3).unsubscribed == ("t.B",)


def test_a_quarantined_topic_that_is_not_wanted_any_more_is_not_tried_again() -> None:
    """Nor is one that is refused after that."""
    sub = settled(["t.A"])
    (ask,) = sub.set_topics(["t.A", "t.BAD"], 1).send
    sub.set_topics(["t.A"], 2)
    sub.answered(no(ask), 3)
    assert sub.due(3 + 2 * RETRY_S) == Change()


def test_a_topic_in_quarantine_is_not_subscribed_when_it_is_desired() -> None:
    """It is tried when its time comes."""
    quarantine = Quarantine(RETRY_S)
    quarantine.put("t.BAD", 0)
    sub = settled(["t.A"], quarantine)
    assert sub.set_topics(["t.A", "t.BAD"], 1) == Change()
    assert sub.due(RETRY_S + 1).send[0].topics == ("t.BAD",)


def test_a_resubscribed_topic_is_not_subscribed_when_it_is_not_desired_any_more() -> None:
    """It was left to be taken anew, and then removed."""
    sub = settled(["t.A", "t.B"])
    change = sub.resubscribe("t.A", 1)
    assert change is not None
    assert sub.set_topics(["t.B"], 2) == Change()
    assert sub.answered(ok(change.send[0], is_unsubscribe=True), 3) == Change()


@given(
    st.lists(st.sets(st.sampled_from("ABCDEF"), min_size=1), min_size=1, max_size=6),
    st.lists(st.booleans(), max_size=60),
)
def test_the_last_wish_is_what_is_there_in_the_end(wishes: list[set[str]], early: list[bool]) -> None:
    """Answers come before or after the next wish; the exchange's own set of topics ends as the last wish."""
    sub = subscription(sorted(wishes[0]))
    waiting, there, turns = list(sub.begin(0).send), set[str](), iter(early)

    def answer_one() -> None:
        request = waiting.pop(0)
        if request.op == "subscribe":
            assert not there & set(request.topics)
            there.update(request.topics)
        else:
            assert set(request.topics) <= there
            there.difference_update(request.topics)
        waiting.extend(sub.answered(ok(request, is_unsubscribe=request.op == "unsubscribe"), 1).send)

    for wish in wishes[1:]:
        while waiting and bool(next(turns, False)):
            answer_one()
        waiting += sub.set_topics(sorted(wish), 1).send
    while waiting:
        answer_one()

    assert sub.active == there == wishes[-1]


def test_topics_are_answered_one_by_one() -> None:
    """Each is active or in quarantine by its own answer; the request is open until all are."""
    sub = subscription(["t.A", "t.BAD", "t.C"])
    (request,) = sub.begin(0).send
    assert sub.answered(ok(request, accepted=("t.C",)), 1).active == ("t.C",)
    change = sub.answered(no(request, refused=("t.BAD",)), 1)
    assert (change.refused, change.quarantined, change.send) == ((("t.BAD", "no"),), (("t.BAD", "no"),), ())
    assert not sub.is_settled
    assert sub.answered(ok(request, accepted=("t.A",)), 2).active == ("t.A",)
    assert sub.is_settled
    assert sub.active == {"t.A", "t.C"}


def test_answers_that_name_no_request_are_those_of_their_topics() -> None:
    """Whichever request has them."""
    sub = subscription([f"t.C{i}" for i in range(12)], market="spot")
    first, second = sub.begin(0).send
    for topic in (*second.topics, *first.topics):
        assert sub.answered(Answer(True, accepted=(topic,)), 1).active == (topic,)
    assert sub.is_settled


def test_a_topic_without_an_answer_of_its_own_ends_the_connection() -> None:
    """Though others of its request were answered; where its data came it is active, and where it was tried again, in
    quarantine."""
    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    sub.answered(ok(request, accepted=("t.A",)), 1)
    with pytest.raises(SubscribeTimeoutError, match=r"t\.B"):
        sub.due(10)

    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    sub.answered(ok(request, accepted=("t.A",)), 1)
    assert sub.data_received("t.B").active == ("t.B",)
    sub.due(10)
    assert sub.is_settled

    sub = subscription(["t.A"])
    sub.answered(ok(sub.begin(0).send[0]), 1)
    (again,) = sub.set_topics(["t.A", "t.B", "t.C"], 2).send
    sub.answered(ok(again, accepted=("t.B",)), 3)
    assert sub.due(12).refused == (("t.C", "no answer"),)
    assert sub.active == {"t.A", "t.B"}


def test_topics_refused_because_they_are_subscribed_are_active() -> None:
    """In a list as well as in the text."""
    sub = subscription(["t.A", "t.B"])
    (request,) = sub.begin(0).send
    change = sub.answered(no(request, accepted=("t.A",), refused=("t.B",), is_active=True), 1)
    assert (change.active, change.refused) == (("t.A", "t.B"), ())


def test_a_request_that_waits_to_be_sent_has_no_deadline() -> None:
    """It begins when it is sent; of one that leaves a topic, too."""
    sub = subscription(["t.A"])
    (request,) = sub.begin(0).send
    sub.postponed(request.req_id)
    sub.due(1e9)
    sub.sent(request.req_id, 1e9)
    sub.due(1e9 + 9)
    with pytest.raises(SubscribeTimeoutError):
        sub.due(1e9 + 10)

    sub = subscription(["t.A"])
    sub.answered(ok(sub.begin(0).send[0]), 1)
    (leave,) = sub.set_topics([], 2).send
    sub.postponed(leave.req_id)
    assert sub.due(1e9).unsubscribed == ()
    sub.sent(leave.req_id, 1e9)
    assert sub.due(1e9 + 10).unsubscribed == ("t.A",)


def test_an_answer_without_req_id_is_that_of_the_request_whose_topics_it_repeats() -> None:
    """As a whole: the pair that its text names is refused, the others are subscribed again."""
    sub = subscription([f"t.C{i}" for i in range(20)], market="spot")
    first, second = sub.begin(0).send
    named = (second.topics[3],)
    refused = sub.answered(Answer(False, message="unknown pair", named=named, of=second.topics), 1)
    assert [topic for topic, _ in refused.quarantined] == [*named]
    assert [request.topics for request in refused.send] == [tuple(t for t in second.topics if t not in named)]
    assert sub.answered(Answer(True, of=first.topics), 1).active == first.topics


def test_topics_of_one_channel_share_a_message() -> None:
    """Where the exchange has one for each; others keep their order, and the limits count within a channel."""
    topics = ["trades:A", "tickers:A", "trades:B", "trades:C", "tickers:B"]
    limits = StreamLimits(topics_per_message=2, channel_of=lambda topic: topic.partition(":")[0])
    assert batches(topics, limits) == [("tickers:A", "tickers:B"), ("trades:A", "trades:B"), ("trades:C",)]
    alone = StreamLimits(channel_of=lambda topic: topic)
    assert batches(["b", "a"], alone) == [("a",), ("b",)]


def test_batches_keep_each_limit_of_the_exchange() -> None:
    """Topics and bytes of a message; of a connection, with how many fit."""
    limits = StreamLimits(bytes_per_topic=1, bytes_per_message=9, topics_per_message=3)
    assert batches(["aaa", "bbb", "c", "d", "e", "f", "\u00fc\u00fc\u00fc"], limits) == [
        ("aaa", "bbb"), ("c", "d", "e"), ("f", "\u00fc\u00fc\u00fc")
    ]  # fmt: skip
    with pytest.raises(ValueError, match="3 topics are too many for one connection: the exchange takes 2 topics, the"):
        batches(["a", "b", "c"], StreamLimits(topics=2))
    with pytest.raises(ValueError, match="the exchange takes 4 bytes, the first 2 fit"):
        batches(["aa", "bb", "c"], StreamLimits(topics=5, bytes=4))
    assert batches(["a", "b"], StreamLimits(topics=2, bytes=2)) == [("a", "b")]
