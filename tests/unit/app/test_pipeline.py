"""Where the payloads of a market and kind go, and which pipeline a payload takes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.pipeline import Pipeline, Pipelines, one_by_one
from model.records import FeedMarker

DOWN = FeedMarker("down", "linear", ("BTCUSDT",), 7)


@pytest.fixture
def built_pipelines():
    """Pipelines of which each notes what was built, with the main market linear."""
    built = []

    def build(market, kind, is_planned):
        built.append((market, kind, is_planned))
        return Pipeline(market, kind)

    return Pipelines(build, "linear"), built


def test_payloads_go_on_as_they_came_and_together():
    """The same objects, one call for what one read brought."""
    taken: list[object] = []
    pipeline = Pipeline("linear", "ticker", [taken.append])
    payloads = [b"\xff{", b"2"]
    pipeline.put_all(payloads)
    pipeline(b"3")

    assert taken[0] is payloads
    assert taken[1] == (b"3",)


def test_marks_stand_between_the_payloads_where_they_happened():
    """Takers that count get a gap's marker in the order of the data."""
    seen: list[object] = []
    pipeline = Pipeline("linear", "trades", [seen.extend], [seen.append])
    pipeline(b"1")
    pipeline.mark(DOWN)
    pipeline(b"2")

    assert seen == [b"1", DOWN, b"2"]


def test_what_nobody_wants_goes_nowhere():
    """RAW_STREAMS without a kind: its stream may still serve others."""
    pipeline = Pipeline("linear", "ticker")

    pipeline(b"{}")
    pipeline.mark(DOWN)


def test_each_pipeline_is_built_once(built_pipelines):
    """By market, kind, and whether the settings ask for it; None is the main market."""
    pipelines, built = built_pipelines
    assert pipelines.of(None, "trades") is pipelines.of("linear", "trades")
    assert pipelines.of("linear", "trades", is_planned=True) is not pipelines.of("linear", "trades")
    assert pipelines.of("spot", "trades").market == "spot"
    assert built == [("linear", "trades", False), ("linear", "trades", True), ("spot", "trades", False)]


def test_many_threads_that_ask_at_once_are_given_one():
    """A second one would be another queue, which no thread takes from."""
    ready = threading.Barrier(8)
    pipelines = Pipelines(lambda market, kind, _planned: Pipeline(market, kind), "linear")

    def ask(_):
        ready.wait(5)
        return pipelines.of("inverse", "trades")

    with ThreadPoolExecutor(8) as pool:
        assert len({id(found) for found in pool.map(ask, range(8))}) == 1


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_take_the_same_payloads_in_order(count):
    """The raw publisher stands first and is served first."""
    taken: list[tuple[int, object]] = []

    def taker(number):
        return lambda payloads: taken.append((number, payloads))

    takers = [taker(number) for number in range(count)]
    payloads = [b"exact", b"bytes"]
    Pipeline("linear", "trades", takers).put_all(payloads)

    assert [number for number, _ in taken] == list(range(count))
    assert all(got is payloads for _, got in taken)


def test_one_taker_is_called_without_a_step_between():
    """It is, for every read of a socket."""
    assert Pipeline("linear", "trades", [print]).put_all is print


def test_a_taker_of_one_gets_each():
    """In their order."""
    taken: list[bytes] = []
    one_by_one(taken.append)([b"1", b"2"])

    assert taken == [b"1", b"2"]
