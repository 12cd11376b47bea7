"""consumers.service: the outputs that each payload, envelope and event goes to. Nothing here connects to anything."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.options import output_options
from consumers.base import BaseConsumer
from consumers.service import KLINES_PER_ENVELOPE, OutputService
from model.events import Connected, Gap, SinkUp
from tests.support.klines import kline
from tests.support.settings import settings_of


@pytest.fixture
def outputs():
    """Made of settings by name; `outputs.published` and `outputs.stored` keep envelopes, `outputs.raw` payloads."""

    def make(*start_embedded, **environ):
        options = output_options(settings_of(**{"REDIS_EMBEDDED": "never", **environ}))
        made: Any = OutputService(options, *start_embedded)
        made.published, made.stored, made.raw = [], [], []
        made.manager.publish, made.manager.store = made.published.append, made.stored.append
        if made.manager.redis:
            made.manager.redis.publish_all = lambda channel, payloads: made.raw.extend(
                (channel, each) for each in payloads
            )
            made.manager.redis.publish_raw = lambda channel, payload: made.raw.append((channel, payload))
        return made

    return make


def takers(outputs, kind, market="linear", is_raw=True):
    return [taker for taker in outputs.takers(market, kind, is_raw=is_raw) if taker]


def test_raw_payloads_go_where_the_settings_want_their_kind(outputs):
    """Redis as asked, the exchange's own protocol by RAW_STREAMS and markets, the recorder by its own kinds."""
    wss = {"WSS_AUTH_USER": "u", "WSS_AUTH_KEY": "k", "WEBSOCKET_EXCHANGE_PATHS": "auth"}
    recorded = {"RAW_RECORD": "true", "RAW_RECORD_KINDS": "ticker,trades"}
    made = outputs(RAW_STREAMS="trades", ENABLED_CONSUMERS="redis,websocket", **wss, **recorded)

    assert [len(takers(made, kind, is_raw=kind == "trades")) for kind in ("trades", "ticker", "orderbook")] == [3, 1, 0]
    assert [len(takers(made, "trades", market)) for market in ("linear", "inverse")] == [3, 2]


@pytest.mark.parametrize(("market", "beside"), [("linear", b""), ("spot", b"spot_"), ("inverse", b"inverse_")])
def test_the_channel_names_the_market_beside_the_main_one(outputs, market, beside):
    """The main one has no name."""
    made = outputs()
    (take,) = takers(made, "trades", market)
    take([b"x"])

    assert made.raw == [(b"stream:bybit_%strades" % beside, b"x")]


def test_an_event_has_who_what_and_when_first(outputs):
    """On the status channel, whatever other fields it has; those without a value are left out."""
    made, before_ms = outputs(), time.time_ns() // 1_000_000
    made.emit(Connected(stream="T", symbols=("BTCUSDT",)))
    ((channel, payload),) = made.raw
    message = json.loads(payload)

    assert channel == b"stream:bybit_status"
    assert list(message) == ["exchange", "event", "ts", "stream", "symbols"]
    assert (message["exchange"], message["event"], message["symbols"]) == ("bybit", "connected", ["BTCUSDT"])
    assert before_ms <= message["ts"] <= time.time_ns() // 1_000_000
    assert made.published == []


def test_an_event_keeps_a_zero_and_its_order(outputs):
    """None alone is left out; fields come as docs/CHANNELS.md lists them, first those of the stream, the times last."""
    made = outputs()
    made.emit(SinkUp(sink="redis", lost=0, from_ms=0, until_ms=1))
    gap: dict[str, Any] = {
        "stream": "T",
        "market": "spot",
        "kind": "trades",
        "symbols": ("A",),
        "topic": "publicTrade.A",
    }
    made.emit(Gap(**gap, reason="sequence", from_ms=1, until_ms=2))
    up, down = (json.loads(payload) for _, payload in made.raw)

    assert list(up.items())[3:] == [("sink", "redis"), ("lost", 0), ("from", 0), ("until", 1)]
    assert list(down)[3:] == [*gap, "reason", "from", "until"]


def test_without_redis_events_go_nowhere(outputs):
    """Unless outputs are to get them."""
    made = outputs(ENABLED_CONSUMERS="console")
    made.emit(Connected(stream="T"))

    assert (made.raw, made.published) == ([], [])


@pytest.mark.parametrize(("event", "market"), [(Gap(market="spot"), "spot"), (SinkUp(sink="redis", lost=0), "linear")])
def test_events_are_envelopes_where_outputs_get_them(outputs, event, market):
    """With the fields of the status channel; one that is of no market has the main one."""
    made = outputs(ENABLE_STATUS_STREAM="true")
    made.emit(event)
    (envelope,) = made.published
    message = json.loads(made.raw[0][1])

    assert (envelope.exchange, envelope.channel, envelope.data_type) == ("bybit", market, "status")
    assert [{"exchange": "bybit", **record} for record in envelope.to_dict()["data"]] == [message]


def test_klines_leave_in_envelopes_of_bounded_size(outputs):
    """A boundary of the whole market is many messages, none huge, in order."""
    made, klines = outputs(), [kline(number) for number in range(KLINES_PER_ENVELOPE + 1)]
    made.put("linear", klines)

    assert [len(envelope.data) for envelope in made.published] == [KLINES_PER_ENVELOPE, 1]
    assert [each for envelope in made.published for each in envelope.data] == klines


def test_records_nobody_is_sent_are_stored_alone(outputs):
    """By the settings' envelope types; nothing is no envelope."""
    made = outputs(ENABLE_TICKER_STREAM="true", STORAGE_ENABLED="true")
    made.send_records("linear", "ticker", [{}])
    made.send_records("linear", "price", [{}])
    made.send_records("linear", "price", [])

    assert [envelope.data_type for envelope in made.published] == ["ticker"]
    assert [envelope.data_type for envelope in made.stored] == ["price"]


class Away(BaseConsumer):
    """A user's output that cannot be set up."""

    def __init__(self):
        super().__init__("away")

    def setup(self):
        raise OSError("refused")

    def consume(self, data):
        """Take nothing."""


@pytest.mark.parametrize(
    ("enabled", "away", "goes_on"),
    [
        ("redis,storage", [], True),
        (f"{__name__}:Away", [{"Away": "OSError"}], True),
        ("file", [{"file": "FileExistsError"}], False),
    ],
)
def test_only_what_is_not_required_may_be_away_at_the_start(outputs, tmp_path, enabled, away, goes_on):
    """Redis may come back, as may a user's output; what is not set up is logged. The recorder starts with the rest."""
    folders = {"FILE_CONSUMER_BASE_PATH": str(tmp_path / "out"), "RAW_RECORD_PATH": str(tmp_path / "raw")}
    made = outputs(ENABLED_CONSUMERS=enabled, REDIS_PORT="1", RAW_RECORD="true", **folders)
    (tmp_path / "out").write_text("in the way")
    with capture_logs() as logs:
        assert made.start() is goes_on
        is_recording = [thread.name for thread in made.recorder.threads() if thread.is_alive()] == ["recorder"]
        assert made.stop(time.monotonic() + 5, time.monotonic() + 5) == []
    assert is_recording is goes_on
    unreachable = [entry["outputs"] for entry in logs if entry["event"] == "outputs_unreachable"]
    assert [{name: why.partition(":")[0] for name, why in found.items()} for found in unreachable] == away


def test_an_embedded_server_that_cannot_start_is_logged(outputs):
    """It was to be the output."""

    def fail(_options):
        raise RuntimeError("no port")

    with capture_logs() as logs:
        assert not outputs(fail, REDIS_EMBEDDED="auto").open()
        assert outputs(fail, ENABLED_CONSUMERS="console").open()
    assert [(entry["event"], entry["error"]) for entry in logs] == [("embedded_server_failed", "no port")]


def test_what_does_not_end_is_named(outputs, monkeypatch):
    """The recorder has its own deadline, before the outputs'."""
    made, deadlines = outputs(RAW_RECORD="true"), []
    monkeypatch.setattr(made.recorder, "stop", lambda by_s: deadlines.append(by_s))
    monkeypatch.setattr(made.manager, "stop", lambda by_s: deadlines.append(by_s) or ["file"])

    assert made.stop(1.0, 2.0) == ["recorder", "file"]
    assert deadlines == [1.0, 2.0]


@pytest.mark.parametrize("is_kept", [True, False])
def test_the_embedded_server_is_looked_after(outputs, monkeypatch, is_kept):
    """A new one has no subscribers yet, which klines wait for; one that cannot be kept ends the process."""
    server, expected = SimpleNamespace(tick=lambda: is_kept), []
    made = outputs(lambda _options: (server, is_kept), REDIS_EMBEDDED="auto")
    monkeypatch.setattr(made.manager.redis, "expect_subscribers", lambda: expected.append(True))
    assert made.tick()
    assert made.open()
    assert (made.tick(), len(expected)) == (is_kept, is_kept)
