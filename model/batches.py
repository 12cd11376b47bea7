"""How the topics of a connection are put into requests, by the limits of an exchange. Pure."""

from collections.abc import Sequence

from model.records import StreamLimits


def batches(topics: Sequence[str], limits: StreamLimits) -> list[tuple[str, ...]]:
    """The topics of one connection in batches of one message each; ValueError where they are too many for one."""
    check_fits(topics, limits)
    channel, channel_of = "", limits.channel_of or (lambda _topic: "")
    if limits.channel_of is not None:
        topics = sorted(topics, key=channel_of)  # those of a channel in their order
    found: list[tuple[str, ...]] = []
    batch: list[str] = []
    used = 0
    for topic in topics:
        cost, of = limits.cost(topic), channel_of(topic)
        is_full = limits.topics_per_message and len(batch) >= limits.topics_per_message
        is_long = limits.bytes_per_message and used + cost > limits.bytes_per_message
        if batch and (is_full or is_long or of != channel):
            found.append(tuple(batch))
            batch, used = [], 0
        batch.append(topic)
        channel, used = of, used + cost
    return [*found, tuple(batch)] if batch else found


def check_fits(topics: Sequence[str], limits: StreamLimits) -> None:
    """ValueError where the topics are too many or too long for one connection, with how many would fit."""
    used = 0
    for fitting, topic in enumerate(topics):
        used += limits.cost(topic)
        if (limits.bytes and used > limits.bytes) or (limits.topics and fitting >= limits.topics):
            parts = -(-len(topics) // max(fitting, 1))
            allowed = f"{limits.bytes} bytes" if limits.bytes and used > limits.bytes else f"{limits.topics} topics"
            raise ValueError(
                f"{len(topics)} topics are too many for one connection: the exchange takes {allowed}, "
                f"the first {fitting} fit; split the symbols over {parts} or more STREAMS entries (SOCKET_POOL_SIZE)"
            )
