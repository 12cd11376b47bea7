"""How a collector starts and stops, and which code it ends with. Nothing here connects to an exchange."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import structlog
from structlog.testing import capture_logs

import main
from app.collector import lost_thread
from app.exits import Exit
from callbacks.trades import handle_trades
from consumers.base import BaseConsumer
from model.context import current
from tests.support.collector import stream_nothing
from tests.support.settings import settings_of
from tests.support.waiting import wait_until


def test_wrong_settings_end_with_2_and_name_every_one(monkeypatch, capsys, tmp_path):
    """From the environment, as `python main.py` reads them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KLINE_INTERVALS", "1x")
    monkeypatch.setenv("REDIS_PORT", "zero")

    assert main.run() == Exit.SETTINGS
    error = capsys.readouterr().err
    assert "KLINE_INTERVALS" in error
    assert "REDIS_PORT" in error


def test_unknown_output_ends_with_2(capsys):
    """What the outputs themselves find wrong with their settings ends the same way."""
    assert main.run(settings_of(ENABLED_CONSUMERS="no.such.module:Consumer")) == Exit.SETTINGS
    assert "no.such.module" in capsys.readouterr().err


def test_every_mistake_is_listed_at_once(monkeypatch, capsys, tmp_path):
    """Settings, outputs, list of coins and STREAMS, though each is looked at elsewhere; nothing is started."""
    coins = tmp_path / "coins.json"
    coins.write_text('{"coins": ["BTC#USDT"]}')
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("HTTPS_PROXY=https://proxy:1\n")
    monkeypatch.delenv("ENV_FILE")
    monkeypatch.setenv("HTTPS_PROXY", "")  # so that what is read of the file goes with the test
    monkeypatch.delenv("HTTPS_PROXY")
    for name, value in {
        "SHARD": "4/3",
        "KLINE_INTERVALS": "1x",
        "LOG_FORMAT": "%(asctme)s",
        "STREAMER_REDIS_PORT": "zero",
        "ENABLED_CONSUMERS": "redis,websocket,no.such:Module",
        "COINS_FILE": str(coins),
        "SSL_CERT_FILE": "/no/such.pem",
    }.items():
        monkeypatch.setenv(name, value)
    main.STREAMS += [
        {"name": "x"},
        {"name": "pair", "func": main.subscribe_trades, "args": ("BTC#USDT", handle_trades)},
        {"name": "market", "func": main.subscribe_ticker, "args": ("BTCUSDT", print, "linaer")},
        {"name": "levels", "func": main.subscribe_orderbook, "args": ("BTCUSDT", print, None, 500)},
        {"name": "number", "func": main.subscribe_trades, "args": (5, print)},
    ]

    assert main.run() == Exit.SETTINGS
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()[1:]]
    begins = [line.split("=")[0].split(":")[0] for line in lines]
    assert set(begins) == {
        "LOG_FORMAT",
        "KLINE_INTERVALS",
        "STREAMER_REDIS_PORT",
        "SHARD",
        "WSS_AUTH_USER is not set",
        "WSS_AUTH_KEY is not set",
        "ENABLED_CONSUMERS",
        "COINS_FILE",
        "SSL_CERT_FILE",
        "HTTPS_PROXY is https",
        "STREAMS[0] 'x'",
        "STREAMS 'pair'",
        "STREAMS 'market'",
        "STREAMS 'levels'",
        "STREAMS 'number'",
    }
    assert len(begins) == len(set(begins))


@pytest.fixture
def collect_into_nothing(collect, tmp_path):
    """Build a collector whose only output cannot make its folder."""

    def build():
        path = tmp_path / "out"
        collector, _ = collect(ENABLED_CONSUMERS="file", FILE_CONSUMER_BASE_PATH=str(path))
        path.write_text("in the way")
        return collector

    return build


def test_unreachable_output_ends_with_3(collect_into_nothing):
    """Where an output is required at start, no stream is opened for it."""
    collector = collect_into_nothing()
    with structlog.testing.capture_logs() as logs:
        assert collector.start() == Exit.OUTPUT_UNREACHABLE
        assert collector.stop() == Exit.ASKED

    (unreachable,) = [entry for entry in logs if entry["event"] == "outputs_unreachable"]
    assert list(unreachable["outputs"]) == ["file"]
    assert "FileExistsError" in unreachable["outputs"]["file"]
    assert not any(thread.is_alive() for thread in collector.klines.threads())


def test_streams_are_dialed_while_the_exchanges_time_is_measured(collect, monkeypatch, tmp_path):
    """Both take round trips, and only klines need the time: it is asked for first, and waited for last."""
    steps: list[object] = []
    is_dialed = threading.Event()

    def dial(*_arguments, **_options):
        is_dialed.set()
        current().stop.wait()

    outputs = {"ENABLED_CONSUMERS": "file", "FILE_CONSUMER_BASE_PATH": str(tmp_path / "out")}
    collector, _ = collect(run=dial, SYMBOLS="BTCUSDT", **outputs)
    monkeypatch.setattr(collector.symbols, "wait", lambda **_: not steps.append("listing"))
    monkeypatch.setattr(collector.rest, "begin_clock", lambda: steps.append("begun"))
    monkeypatch.setattr(collector.rest, "wait_for_clock", lambda _limit_s: steps.append(is_dialed.wait(20.0)))
    assert collector.start() is None
    collector.stop()

    assert steps == ["begun", "listing", True]


def test_failed_embedded_server_ends_with_3(collect, monkeypatch, tmp_path):
    """It was to be the output."""
    collector, _ = collect(REDIS_PORT="1")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))  # no room for its configuration
    with structlog.testing.capture_logs() as logs:
        assert collector.start() == Exit.OUTPUT_UNREACHABLE
    assert "embedded_server_failed" in [entry["event"] for entry in logs]


def test_an_embedded_server_that_cannot_be_kept_ends_with_3(collect, monkeypatch):
    """What is published arrives nowhere: a supervisor starts both again."""
    collector, _ = collect()
    monkeypatch.setattr(collector.outputs, "tick", lambda: False)

    assert collector.tick() is Exit.OUTPUT_UNREACHABLE


EVERY_OUTPUT = {
    "ENABLED_CONSUMERS": "redis,console,file",
    "STORAGE_ENABLED": "true",
    "REDIS_STREAMS": "true",
    "RAW_RECORD": "true",
    "ENABLE_TICKER_STREAM": "true",
    "AUDIT_SAMPLE": "1",
}
THREADS = {
    *("aggregator", "repair", "audit", "envelopes", "coins", "recorder"),
    *(f"consumer-{name}" for name in ("redis", "console", "file", "storage", "history", "store")),
}


@pytest.fixture
def with_every_output(collect):
    """A collector that would have every thread there is, and none of them yet."""
    return collect(**EVERY_OUTPUT)[0]


def test_every_thread_but_the_streams_is_watched(with_every_output):
    """What ends for good while the process lives on would only look alive."""
    assert {thread.name for thread in with_every_output.threads()} == THREADS


@pytest.mark.parametrize("name", sorted(THREADS))
def test_a_lost_thread_ends_with_4(with_every_output, monkeypatch, name):
    """It died: something would be missing from now on, which a restart mends."""
    collector = with_every_output
    assert collector.tick() is None
    (thread,) = [thread for thread in collector.threads() if thread.name == name]
    monkeypatch.setattr(thread, "run", lambda: None)
    thread.start()
    thread.join()
    with structlog.testing.capture_logs() as logs:
        assert collector.tick() == Exit.THREAD_LOST

    assert [(entry["event"], entry["threads"]) for entry in logs] == [("threads_lost", [name])]


def test_only_what_was_started_and_has_ended_is_lost() -> None:
    """What is still to be started is not missed."""
    asked = threading.Event()
    alive, dead, unborn = (threading.Thread(target=asked.wait, name=name) for name in ("alive", "dead", "unborn"))
    dead.run = lambda: None  # type: ignore[method-assign]
    for thread in (alive, dead):
        thread.start()
    dead.join()
    with capture_logs() as logs:
        assert lost_thread([alive, dead, unborn]) == Exit.THREAD_LOST
    assert [(entry["event"], entry["threads"]) for entry in logs] == [("threads_lost", ["dead"])]
    assert lost_thread([alive, unborn]) is None
    asked.set()
    alive.join()


def test_a_stream_given_up_ends_with_6_and_is_logged_before(collect):
    """A critical line that names it, and a status line; what is no longer in the list was not given up."""
    own = {"name": "mine", "func": main.subscribe_trades, "args": ("ETHUSDT", handle_trades)}
    no_others = {"RAW_STREAMS": "none", "ENABLE_KLINES_STREAM": "false"}
    collector, streams = collect(
        own, run=stream_nothing, RECONNECT_MAX_ATTEMPTS="1", RECONNECT_DELAY="0.1", **no_others
    )
    assert collector.tick() is None
    wait_until(lambda: collector.streams.supervisor.gave_up)
    with structlog.testing.capture_logs() as logs:
        assert collector.tick() == Exit.STREAM_GIVEN_UP
    logs = [entry for entry in logs if entry["event"] != "outage_began"]
    assert [entry["event"] for entry in logs] == ["streams_given_up", "status"]
    assert (logs[0]["streams"], logs[0]["attempts"], logs[0]["log_level"]) == (["mine"], 1, "critical")
    assert logs[1]["given_up"] == 1
    streams.remove(own)
    with structlog.testing.capture_logs():
        assert collector.tick() is None


@pytest.mark.parametrize("part", ["health", "alerts", "first_light", "outages"])
def test_a_mistake_in_what_only_watches_ends_nothing(collect, monkeypatch, part):
    """It is logged with its traceback; what comes after it is called all the same, at the stop too."""
    collector, _ = collect(
        RAW_STREAMS="none", ENABLE_KLINES_STREAM="false", ALERT_WEBHOOK="http://127.0.0.1:1/a", STOP_TIMEOUT="1"
    )

    def fail(*_):
        raise RuntimeError("a mistake")

    monkeypatch.setattr(type(getattr(collector, part)), "tick", fail)
    monkeypatch.setattr(type(collector.alerts), "begin_stop", fail)
    with structlog.testing.capture_logs() as logs:
        assert collector.tick() is None
        assert collector.stop() == Exit.ASKED
    assert [entry["exc_info"] for entry in logs if entry["event"] == "observer_failed"] == [True]
    assert not collector.is_running


def test_passed_deadline_ends_with_5(collect):
    """A thread that does not end is named."""
    is_over = threading.Event()
    own = {"name": "stuck", "func": is_over.wait, "args": ()}
    collector, _ = collect(own, RAW_STREAMS="none", ENABLE_KLINES_STREAM="false", STOP_TIMEOUT="1")
    assert collector.tick() is None
    with structlog.testing.capture_logs() as logs:
        assert collector.stop() == Exit.STOP_DEADLINE
    is_over.set()

    assert [entry["threads"] for entry in logs if entry["event"] == "stop_deadline_passed"] == [["stuck"]]


class Ending(BaseConsumer):
    """An output that notes, when it starts and when it ends, what else runs."""

    still_runs: ClassVar[Callable[[], dict[str, bool]]]
    seen: ClassVar[list[tuple[str, dict[str, bool]]]] = []

    def __init__(self) -> None:
        super().__init__("ending")

    def consume(self, data: dict[str, Any]) -> None:
        """Take nothing."""

    def start(self) -> None:
        """Note it."""
        Ending.seen.append(("start", Ending.still_runs()))

    def stop(self) -> None:
        """Note it."""
        Ending.seen.append(("outputs", Ending.still_runs()))


def test_parts_start_and_stop_in_order_and_leave_the_users_entries(collect):
    """Outputs start first; streams end first, then aggregator and decoder, and outputs last.

    A second run finds STREAMS as the user left it.
    """

    def end_last():
        current().stop.wait()
        Ending.seen.append(("streams", still_runs()))  # what is still to end may subscribe once more

    own = {"name": "mine", "func": end_last, "args": ()}
    outputs = {"ENABLED_CONSUMERS": f"{__name__}:Ending", "ENABLE_TICKER_STREAM": "true"}
    collector, streams = collect(own, KLINE_REPAIR="false", **outputs)

    def still_runs():
        owners = {"aggregator": collector.klines, "decoder": collector.decoder}
        return {
            "collector": collector.is_running,
            **{name: owner.threads()[0].is_alive() for name, owner in owners.items()},
        }

    Ending.still_runs, Ending.seen = staticmethod(still_runs), []
    with capture_logs():
        assert collector.start() is None
        assert collector.stop() == Exit.ASKED
    assert Ending.seen == [
        ("start", {"collector": True, "aggregator": False, "decoder": False}),
        ("streams", {"collector": True, "aggregator": True, "decoder": True}),
        ("outputs", {"collector": True, "aggregator": False, "decoder": False}),
    ]
    assert streams == [own]
    with pytest.raises(RuntimeError, match="no collector runs"):
        handle_trades(b"{}")


def test_each_part_has_its_share_of_the_stop(collect, monkeypatch):
    """Of 10 s streams have 4, aggregator, decoder and recorder 2 more, and the outputs the rest."""
    collector, _ = collect(STOP_TIMEOUT="10", ENABLE_TICKER_STREAM="true", KLINE_REPAIR="false")
    ends: dict[str, list[float]] = {}
    monkeypatch.setattr(collector.streams, "stop", lambda limit_s: ends.update(streams=[limit_s]) or [])
    for name, alive in {"klines": [], "decoder": True, "outputs": []}.items():

        def stop(*by_s: float, name=name, alive=alive):
            ends[name] = [at_s - begin_s for at_s in by_s]
            return alive

        monkeypatch.setattr(getattr(collector, name), "stop", stop)
    begin_s = time.monotonic()
    assert collector.stop() is Exit.ASKED

    shares = {"streams": [4], "klines": [4, 6], "decoder": [6], "outputs": [6, 10]}
    assert ends.keys() == shares.keys()
    assert all(ends[name] == pytest.approx(by_s, abs=1) for name, by_s in shares.items())


# -- the network ------------------------------------------------------------------------------------------------


def test_the_start_names_proxies_and_certificates(collect_into_nothing, monkeypatch):
    """One line, without a password; what is reached without a proxy is named, too."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("NO_PROXY", "api.bybit.com")
    collector = collect_into_nothing()
    with structlog.testing.capture_logs() as logs:
        collector.start()
        collector.stop()

    (line,) = [line for line in logs if line["event"] == "collecting_from"]
    assert line["proxies"] == {"stream.bybit.com": "http://proxy:3128", "api.bybit.com": None}
    assert line["certificates"]
    assert "secret" not in str(line)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("HTTPS_PROXY", "https://proxy:1", "HTTPS_PROXY is https://..., must begin with http://"),
        ("REQUESTS_CA_BUNDLE", "/no/such.pem", "REQUESTS_CA_BUNDLE=/no/such.pem: there is no such file or folder"),
    ],
)
def test_what_cannot_be_used_of_the_network_is_refused(collect, monkeypatch, name, text, problem):
    """At the start, by name, instead of failing for ever."""
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=re.escape(problem)):
        collect(ENABLED_CONSUMERS="console")
