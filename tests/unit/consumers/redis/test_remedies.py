"""consumers.redis.connection.remedy_of: what to do about errors of Redis, as a reply has them and as redis-py does."""

import pytest
from redis._parsers.base import BaseParser

from consumers.redis.connection import USUAL_REMEDY, remedy_of


@pytest.mark.parametrize(
    ("reply", "remedy"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", "REDIS_PASSWORD and REDIS_USER"),
        ("ERR invalid password", "REDIS_PASSWORD and REDIS_USER"),
        ("NOAUTH Authentication required.", "set REDIS_PASSWORD"),
        ("ERR AUTH <password> called without any password configured for the default user.", "REDIS_PASSWORD empty"),
        ("NOPERM this user has no permissions to run the 'publish' command", "give it the channels"),
        ("NOPERM No permissions to access a channel", "give it the channels"),
        ("READONLY You can't write against a read only replica.", "name the primary"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "raise maxmemory"),
        ("LOADING Valkey is loading the dataset in memory", "reads its data"),
        ("MOVED 3999 127.0.0.1:6381", "REDIS_CLUSTER"),
        ("MISCONF Valkey is configured to save RDB snapshots, but it's unable to", "its disk"),
        ("ERR max number of clients reached", "maxclients"),
        ("DENIED Redis is running in protected mode because", "give it a password"),
        ("ERR DB index is out of range", "set REDIS_DB"),
    ],
)
def test_a_refusal_has_its_remedy_with_its_code_and_without(reply: str, remedy: str) -> None:
    """redis-py takes the code off what it has a class for."""
    assert remedy in remedy_of(reply)
    assert remedy in remedy_of(BaseParser.parse_error(reply))


def test_what_is_not_known_has_the_usual_one() -> None:
    assert remedy_of(ValueError("odd")) == USUAL_REMEDY
