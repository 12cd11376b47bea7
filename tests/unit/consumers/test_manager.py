"""Building outputs by name; nothing is started here."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from consumers import ConsumerManager
from consumers.base import BaseConsumer
from consumers.manager import ConsumerOptions, ConsumerSettingsError
from consumers.redis.options import RedisOptions
from consumers.web.options import WebOptions
from tests.support.klines import klines


class Named(BaseConsumer):
    """A consumer that wants its name."""

    def consume(self, data: dict[str, object]) -> None:
        """Take it."""


class Faulty(BaseConsumer):
    """A consumer that finds itself misconfigured."""

    def __init__(self) -> None:
        super().__init__("faulty")

    def validate(self) -> None:
        """Refuse."""
        raise ValueError("FAULTY_SETTING: must be set")


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    yield
    ConsumerManager.registered.clear()


def test_all_mistakes_at_once_with_what_is_allowed():
    """One start shows every wrong setting."""
    ConsumerManager.register_consumer("faulty", Faulty)
    with pytest.raises(ConsumerSettingsError) as caught:
        ConsumerManager(["kafka", "faulty", "websocket", "no.such:Module", f"{__name__}:basic", "console"])
    first, *rest = caught.value.errors
    assert first == (
        "ENABLED_CONSUMERS: 'kafka' is unknown; "
        "allowed: redis, file, parquet, console, websocket, storage, history, faulty, package.module:ConsumerClass"
    )
    assert [error.split(":")[0] for error in rest] == [
        "FAULTY_SETTING",
        "WSS_AUTH_USER",
        "ENABLED_CONSUMERS",
        "ENABLED_CONSUMERS",
    ]


def test_every_kind_of_name_is_built():
    """Built-in, registered and dotted names stand side by side, each once."""
    ConsumerManager.register_consumer("mine", Named)
    options = ConsumerOptions(websocket=WebOptions(user="u", key="k"))
    names = ["redis", "file", "console", "websocket", "mine", f"{__name__}:Named", "redis"]
    manager = ConsumerManager(names, options)
    assert list(manager.stats()) == ["redis", "file", "console", "websocket", "mine", "Named"]
    assert manager.redis is not None


def test_a_class_that_is_no_consumer_is_refused():
    """A typing error in a dotted name is a settings error, not a crash later."""
    with pytest.raises(ConsumerSettingsError, match="no class deriving from"):
        ConsumerManager(["decimal:Decimal"])


class Waits(Faulty):
    """A consumer that looks at its options in a coroutine."""

    async def validate(self) -> None:  # type: ignore[override]
        """Refuse."""
        raise ValueError("WAITS_SETTING: must be set")


class Breaks(Faulty):
    """A consumer whose own code fails."""

    def validate(self) -> None:
        """Fail."""
        raise KeyError("broken")


class Unmade(Faulty):
    """A consumer that cannot be made."""

    def __init__(self) -> None:
        raise OSError("no device")


def test_what_a_users_consumer_raises_is_one_line_of_all():
    """Its module, its constructor, its validate, plain or async: no traceback, and the others are there too."""
    with pytest.raises(ConsumerSettingsError) as caught:
        ConsumerManager([f"{__name__}:{name}" for name in ("Waits", "Breaks", "Unmade")] + ["decimal.no:X"])
    assert caught.value.errors == [
        "WAITS_SETTING: must be set",
        f"ENABLED_CONSUMERS: '{__name__}:Breaks' cannot be validated: KeyError: 'broken'",
        "ENABLED_CONSUMERS: 'Unmade' cannot be made: OSError: no device",
        "ENABLED_CONSUMERS: 'decimal.no:X' cannot be imported: "
        "ModuleNotFoundError: No module named 'decimal.no'; 'decimal' is not a package",
    ]


def test_the_script_that_runs_is_not_imported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it appends to STREAMS would be there twice."""
    script = ModuleType("__main__")
    script.__file__, script.Mine = "/home/me/mine.py", Named  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert list(ConsumerManager(["mine:Mine"]).stats()) == ["Mine"]
    assert "mine" not in sys.modules


def test_built_in_names_cannot_be_taken():
    """`file` is always the file output."""
    with pytest.raises(ValueError, match="built-in"):
        ConsumerManager.register_consumer("file", Named)


def test_a_bad_redis_url_is_named_without_its_password():
    """Settings errors are logged; passwords are not."""
    url = "redis://:s3cret@host:66x/0"
    assert "s3cret" not in repr(RedisOptions(url))
    with pytest.raises(ConsumerSettingsError, match="REDIS_URL") as caught:
        ConsumerManager(["redis"], ConsumerOptions(redis=RedisOptions(url)))
    assert "s3cret" not in str(caught.value)


def test_storage_and_history_are_outputs_like_the_others():
    """Built by name, known by name; what is only to be stored goes to the storage alone."""
    manager = ConsumerManager(["console", "history", "storage"])
    assert manager.history is not None
    manager.store(klines())

    assert {name: stats.queued for name, stats in manager.stats().items()} == {"console": 0, "history": 0, "storage": 1}
    ConsumerManager(["console"]).store(klines())  # without a storage it goes nowhere


def test_available_consumers_are_listed():
    """The built-in ones and those registered."""
    ConsumerManager.register_consumer("faulty", Faulty)

    assert {"redis", "storage", "faulty"} <= set(ConsumerManager.list_available_consumers())


def test_what_never_started_has_nothing_to_finish():
    """A start that fails: what was offered until then was for nobody, and no deadline passed."""
    ConsumerManager.register_consumer("mine", Named)
    manager = ConsumerManager(["mine"])
    manager.publish(klines())
    assert manager.stop(0.0) == []


def test_a_web_server_without_the_output_takes_no_envelopes_and_is_no_output():
    """Whatever is published is not queued for it; it is watched and stopped like the others."""
    manager = ConsumerManager(["console"], ConsumerOptions(has_web=True))
    assert manager.web is not None
    manager.publish(klines())
    assert {name: stats.queued for name, stats in manager.stats().items()} == {"console": 1}
    assert [thread.name for thread in manager.threads()] == ["consumer-console", "consumer-web"]
    assert manager._web_alone is not None
    assert len(manager._web_alone._queue) == 0
    assert manager.stop(0.0) == []


def test_the_web_server_is_the_output_where_that_is_enabled():
    """One server, whose mistakes are named as before; none without either."""
    options = ConsumerOptions(has_web=True, websocket=WebOptions(user="u", key="k"))
    manager = ConsumerManager(["websocket"], options)
    assert [thread.name for thread in manager.threads()] == ["consumer-websocket"]
    assert list(manager.stats()) == ["websocket"]
    assert ConsumerManager(["console"]).web is None


def test_a_certificate_that_cannot_be_loaded_is_a_mistake_of_the_web_server_too():
    """A page that was meant to be encrypted is not served in the clear."""
    options = ConsumerOptions(has_web=True, websocket=WebOptions(tls_cert=Path("none.pem"), tls_key=Path("none.pem")))
    with pytest.raises(ConsumerSettingsError, match="WEBSOCKET_TLS_CERT"):
        ConsumerManager(["console"], options)
