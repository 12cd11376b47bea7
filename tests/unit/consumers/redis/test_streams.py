"""The commands of Redis Streams, and what their replies mean."""

import hiredis

from consumers.redis.backlog import QueuedMessage
from consumers.redis.streams import StreamPacker, payloads_of, refusal_of, sent_before, xrevrange


def words(command):
    reader = hiredis.Reader()
    reader.feed(command)
    return reader.gets()


def item(payload):
    return QueuedMessage(0, 1, "stream:bybit_klines", payload)


def test_an_entry_is_the_payload_and_the_stream_is_trimmed_about():
    """One field, whatever the payload holds; MAXLEN with a tilde."""
    payload = b"\r\n\x00$3"

    assert words(StreamPacker(500).pack(("s", payload))) == [
        *(b"XADD", b"s", b"MAXLEN", b"~", b"500", b"*", b"data", payload)
    ]


def test_a_batch_is_a_transaction():
    """One reply per command."""
    commands = StreamPacker(5).transaction([item(b"1"), item(b"2")])

    assert [words(command)[0] for command in commands] == [b"MULTI", b"XADD", b"XADD", b"EXEC"]


def test_xrevrange_is_packed_and_its_entries_are_read():
    """Their payloads as a set; a refusal is an empty set."""
    assert words(xrevrange("s", 7)) == [b"XREVRANGE", b"s", b"+", b"-", b"COUNT", b"7"]
    assert payloads_of([[b"1-0", [b"data", b"x"]], [b"0-1", [b"data", b"y"]]]) == {b"x", b"y"}
    assert payloads_of(hiredis.ReplyError("WRONGTYPE")) == set()


def test_a_refusal_is_found_wherever_it_stands():
    """When queued, at EXEC, or inside its answer; the cause before what follows from it."""
    oom, abort = hiredis.ReplyError("OOM"), hiredis.ReplyError("EXECABORT")

    assert refusal_of([b"OK", b"QUEUED", [b"1-0"]]) is None
    assert refusal_of([b"OK", oom, abort]) is oom
    assert refusal_of([b"OK", b"QUEUED", [b"1-0", oom]]) is oom


def test_what_the_stream_has_is_not_sent_again():
    """Order is kept, so all before one that is in the stream is in it, though it was trimmed."""
    batch = [item(b"1"), item(b"2"), item(b"3")]

    assert sent_before(batch, set()) == 0
    assert sent_before(batch, {b"2", b"0"}) == 2
    assert sent_before(batch, {b"3"}) == 3
