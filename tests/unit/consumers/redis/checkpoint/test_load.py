"""Which messages of a spill file were published before a SIGKILL: found by the checkpoint."""

import pytest

from consumers.redis.backlog import KlineBacklog, QueuedMessage
from consumers.redis.checkpoint.load import sent_from_file
from model.envelope import Envelope
from model.records import LastPublished
from tests.support.klines import kline, klines

BTC = ("linear", "BTCUSDT", 60_000)
NOW_MS = 1_767_717_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "klines.jsonl"


def write(path, *envelopes):
    """A spill file of these messages."""
    items = [QueuedMessage(NOW_MS, 1, "stream:bybit_klines", envelope.json) for envelope in envelopes]
    path.write_bytes(b"".join(item.line() for item in items))
    return items


def known(number, revision=0, **others):
    """The last published of BTC, and of others by their symbols."""
    found = {BTC: LastPublished(kline(number).timestamp, revision, True)}
    return found | {("linear", name, 60_000): LastPublished(kline(n).timestamp, 0, True) for name, n in others.items()}


def test_what_stands_before_the_last_one_published_is_not_sent_again(path):
    """Messages leave in their order."""
    items = write(path, *(klines(number) for number in range(6)))
    sent = sent_from_file(path, known(3))
    backlog = KlineBacklog(path)

    assert (sent, backlog.load(sent)) == (4, 2)
    assert [backlog.take(NOW_MS), backlog.take(NOW_MS), backlog.take(NOW_MS)] == [*items[4:], None]
    assert not path.exists()


def test_a_revision_that_was_sent_before_goes_with_it(path):
    """It is older than what is known, and stands before it."""
    write(path, klines(1), klines(0, revision=1), klines(2), klines(3))
    assert sent_from_file(path, known(2)) == 3


def test_a_revision_behind_the_last_one_published_is_sent(path):
    """Whether it was sent is uncertain."""
    write(path, klines(1), klines(2), klines(1, revision=1), klines(3))
    assert sent_from_file(path, known(2)) == 2


def test_another_revision_is_not_the_one_that_was_published(path):
    """The second revision of a kline is new where the first was published."""
    write(path, klines(1), klines(1, revision=1), klines(2))
    assert sent_from_file(path, known(1)) == 1


def test_what_is_newer_than_what_is_known_stops_it(path):
    """It was refused, while those after it were taken: it must be sent."""
    write(path, klines(1), klines(5, symbol="ETHUSDT"), klines(2))
    assert sent_from_file(path, known(2, ETHUSDT=4)) == 0


def test_a_message_of_which_one_kline_is_unknown_is_sent(path):
    """All of it: one double is better than one lost."""
    write(path, Envelope("bybit", "linear", "klines", (kline(1), kline(1, symbol="ETHUSDT"))))
    assert sent_from_file(path, known(1)) == 0


def test_nothing_is_skipped_where_nothing_is_known(path):
    """A first start, a Redis that forgot, a file that is not there."""
    write(path, klines(1))
    assert sent_from_file(path, {}) == 0
    assert sent_from_file(path.with_name("other"), known(1)) == 0
    assert sent_from_file(None, known(1)) == 0


def test_a_line_cut_by_a_crash_hinders_nothing(path):
    """Nothing of it could be sent; what stands after it could."""
    items = write(path, klines(1), klines(2))
    path.write_bytes(items[0].line() + items[0].line()[:40] + b"\n" + items[1].line())
    assert sent_from_file(path, known(2)) == 3


def test_a_file_that_was_sent_whole_goes(path):
    """Nothing waits in it."""
    write(path, klines(1), klines(2))
    backlog = KlineBacklog(path)
    assert backlog.load(sent_from_file(path, known(2))) == 0
    assert (len(backlog), backlog.take(NOW_MS), path.exists()) == (0, None, False)
