"""What main makes of the audit's settings, and the way to the audit on demand. Nothing here connects to anything."""

import dataclasses
import json
import threading
from decimal import Decimal

import pytest

from aggregation.audit.compare import FIELDS, FIELDS_WITHOUT_OPEN, compared_fields
from aggregation.klines.arithmetic import PLAIN, Arithmetic
from app import cli
from app.arguments import parser
from app.options import kline_options, output_options
from exchanges.bybit.venue import VENUE
from model.markets import KlineRules, MarketSpec
from tests.support.arithmetic import FIRST_TRADE
from tests.support.collector import collector_of
from tests.support.klines import kline
from tests.support.settings import settings_of
from tests.unit.aggregation.klines.test_table import MINUTE, T0, trades


def settings(**environ):
    return settings_of(**{"BYBIT_REST_URL": "http://127.0.0.1:9", **environ})


@pytest.fixture
def collect():
    return lambda **environ: collector_of(settings(**environ))


def test_share_of_nothing_has_no_auditor(collect):
    """AUDIT_SAMPLE=0 is off; a replay has nothing to be compared with."""
    assert collect().klines.auditor is not None
    assert collect(AUDIT_SAMPLE="0").klines.auditor is None
    assert collect(AGGREGATION_CLOCK="event").klines.auditor is None
    assert "audit" not in {thread.name for thread in threading.enumerate()}


def test_published_klines_are_offered(collect):
    """Every one that goes out, if all are to be compared."""
    collector = collect(AUDIT_SAMPLE="1")
    collector.klines.publish("linear", [kline(0), kline(1)])

    assert collector.klines.auditor.stats()["waiting"] == 2


def test_correction_goes_to_the_aggregator_where_it_is_asked_for(collect):
    """AUDIT_CORRECT=true hands over our kline and the exchange's candle."""
    collector = collect(AUDIT_CORRECT="true", SYMBOLS="BTCUSDT")
    collector.klines.correct("linear", kline(0), kline(0, close=Decimal(1)))
    ((correction,),) = [collector.klines.aggregator.queues["linear"].take(10)]

    assert (correction.kline, correction.candle.close) == (kline(0), Decimal(1))
    options = [kline_options(settings(AUDIT_CORRECT=text), VENUE) for text in ("false", "true")]
    assert [each.audit_correct for each in options] == [False, True]


def test_only_what_can_be_equal_is_compared():
    """An open from the first trade is not the exchange's open."""
    assert compared_fields(PLAIN) == FIELDS
    assert compared_fields(FIRST_TRADE) == FIELDS_WITHOUT_OPEN


def test_a_turnover_that_the_exchange_does_not_have_is_not_compared():
    """What is read in its place is near it."""
    spec = MarketSpec("linear", "swap", "linear", ("trades",), (), KlineRules("first_trade", lacks_turnover=True))

    assert compared_fields(Arithmetic.of(spec)) == ("open", "high", "low", "close", "volume")


@pytest.mark.parametrize(("count", "kept"), [("true", ["a", "b"]), ("false", ["a"])])
def test_block_trades_reach_the_aggregator_as_the_settings_say(count, kept):
    """COUNT_BLOCK_TRADES, by its way through main: how the decoder is made."""
    trade = {"T": 1, "s": "BTCUSDT", "p": "1", "v": "1", "seq": 1}
    message = {"topic": "publicTrade.BTCUSDT", "data": [{**trade, "i": "a"}, {**trade, "i": "b", "BT": True}]}
    made = []
    venue = dataclasses.replace(VENUE, decoder=lambda *rules: made.append(VENUE.decoder(*rules)) or made[-1])
    collector = collector_of(settings(COUNT_BLOCK_TRADES=count), venue=venue)
    collector.pipeline("linear", "trades").put_all([json.dumps(message).encode()])
    assert collector.klines
    collector.klines.aggregator.step()

    assert made[-1]([json.dumps(message).encode()]).ids == kept


def test_checkpoint_has_its_key_and_file(tmp_path):
    """The prefix is the main key's or the exchange's; the file lies with the backlog, one per exchange and market."""
    mine = output_options(settings(REDIS_BACKLOG_PATH=str(tmp_path), CHANNEL_TYPE="inverse")).consumers.redis.checkpoint
    other = output_options(settings(REDIS_MAIN_KEY="market")).consumers.redis.checkpoint

    assert mine
    assert other
    assert mine.old_path == tmp_path / "bybit_inverse.published.json"
    assert (mine.key_prefix, other.key_prefix) == ("bybit-streamer", "market")


def audit(arguments, settings):
    """What `main.py audit` does with these arguments and settings."""
    return cli.audit(parser().parse_args(["audit", *arguments]), settings)


def test_audit_on_demand_has_what_the_settings_name(tmp_path, capsys):
    """Folder and market from the settings; wrong arguments end with 2, an unreachable exchange with 1."""
    (tmp_path / "bybit").mkdir()
    here = settings(FILE_CONSUMER_BASE_PATH=str(tmp_path), CHANNEL_TYPE="spot")
    assert audit(["--from", "2026-01-01", "--to", "2026-01-02"], here) == 1
    assert f"spot klines from 2026-01-01 00:00:00Z to 2026-01-02 00:00:00Z, 0 files below {tmp_path}/bybit" in (
        capsys.readouterr().out
    )
    with pytest.raises(SystemExit, match="2"):
        audit(["--from", "never"], here)


def test_contract_sizes_are_those_of_the_listing(monkeypatch):
    """Looked up where the symbols are followed, as its newest answer has them."""
    markets = {name: dataclasses.replace(spec, has_contracts=True) for name, spec in VENUE.markets.items()}
    collector = collector_of(settings(SYMBOLS="BTC"), [], dataclasses.replace(VENUE, markets=markets))
    monkeypatch.setattr(collector.symbols, "contract_size", lambda *what: {("linear", "BTC"): Decimal(100)}[what])
    assert collector.klines
    table = collector.klines.aggregator.tables["linear"]
    klines = table.add(trades((0, 1, 3, "BTC"))) + table.close_until(T0 + MINUTE)

    assert {k.volume for k in klines} == {300}
