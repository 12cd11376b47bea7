"""The audit on demand: arguments, files, the table, exit codes."""

import argparse
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from aggregation.audit.cli import Defaults, add_arguments, run_audit
from aggregation.audit.compare import FIELDS
from model.envelope import Envelope
from model.ports import HistoryError
from model.records import Candle
from tests.support.klines import kline, write_file

BEGIN = "2026-01-06T16:29"  # of making.kline(0)
LATER = "2026-01-06T17:29"


class History:
    """One market of the exchange, with candles equal to the given klines."""

    candle_steps_ms = (60_000, 300_000, 0)
    url = "http://127.0.0.1"

    def __init__(self, *klines, error=None):
        self.klines, self.error, self.asked = klines, error, []

    def candles(self, symbol, step_ms, start_ms, end_ms):
        self.asked.append((symbol, step_ms))
        if self.error:
            raise self.error
        found = [k for k in self.klines if k.symbol == symbol and start_ms <= k.timestamp < end_ms]
        return [Candle(start_ms=k.timestamp, **{name: getattr(k, name) for name in FIELDS}) for k in found]

    def server_time_ms(self):
        raise NotImplementedError("an audit takes no time of the exchange")

    def recent_trades(self, symbol):
        raise NotImplementedError("an audit reads no trades")

    def trades_by_id(self, symbol, first_id, last_id):
        raise NotImplementedError("an audit reads no trades")


@pytest.fixture
def written(tmp_path):
    """Write klines as the file output does, one file per call."""

    def write(*klines, market="linear", minute=59):
        line = b'{"timestamp":1,' + Envelope("bybit", market, "klines", klines).json[1:] + b"\n"
        return write_file(tmp_path, ("bybit", market, "klines"), [line], datetime(2026, 1, 6, 17, minute, tzinfo=UTC))

    return write


def read(arguments):
    """The arguments as main.py's parser reads them."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def audit(tmp_path, capsys):
    """Run it; returns exit code, what was written, and what stands on stderr."""

    def run(history, *arguments, begin=BEGIN, end=LATER):
        defaults = Defaults("linear", tmp_path)
        bounds = ["--from", begin, "--to", end]
        code = run_audit(read([*bounds, *arguments]), defaults, lambda _market: history)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def row(out, interval="1m"):
    """The row of an interval as a dict."""
    head, *rows = (line.split() for line in out.splitlines()[1:])
    return dict(zip(head, next(row for row in rows if row[0] == interval), strict=True))


def test_all_equal_is_0(written, audit):
    """Every complete kline is the exchange's, digit by digit; the highest revision is the one that counts."""
    written(kline(0), kline(1, close=Decimal(1)), kline(2, complete=False, volume=Decimal(1)))
    written(kline(1, revision=1), minute=58)  # however the files are ordered
    code, out, _ = audit(History(*map(kline, range(5))))

    assert code == 0
    assert "all complete klines are equal" in out
    figures = {"compared": "2", "equal": "2", "different": "0", "missing": "2", "incomplete": "1"}
    assert figures.items() <= row(out).items()


def test_difference_is_1_and_named(written, audit):
    """Which kline, which field, both values; and what a difference in volume hints at."""
    written(kline(0), kline(1, volume=Decimal("33.5"), close=Decimal("92846")))
    code, out, _ = audit(History(kline(0), kline(1)))

    assert code == 1
    assert {"different": "1", "equal": "1", "close": "1", "volume": "1", "open": "0"}.items() <= row(out).items()
    assert "BTCUSDT 1m 2026-01-06 16:30:00Z revision 0: close 92846, the exchange's 92846.1, volume 33.5" in out
    assert "COUNT_BLOCK_TRADES and COUNT_RPI_TRADES" in out
    assert "NOT all are equal" in out


def test_kline_the_exchange_does_not_have_is_1(written, audit):
    """A candle that never was is no equal one."""
    written(kline(0), kline(1))
    code, out, _ = audit(History(kline(0)))

    assert (code, row(out)["different"]) == (1, "1")
    assert "the exchange has no such candle" in out


def test_a_kline_without_a_trade_is_right_where_the_exchange_has_no_such_candles(written, tmp_path, capsys):
    """One with trades must be there."""
    written(kline(0), kline(1, volume=Decimal(0), trade_count=0))
    defaults = Defaults("linear", tmp_path, is_left_out=lambda _market, kline: not kline.volume)
    assert run_audit(read(["--from", BEGIN, "--to", LATER]), defaults, lambda _market: History(kline(0))) == 0
    assert row(capsys.readouterr().out)["equal"] == "2"
    assert run_audit(read(["--from", BEGIN, "--to", LATER]), defaults, lambda _market: History(kline(1))) == 1


def test_one_revision_with_two_values_is_1(written, audit):
    """Readers of the one and of the other disagree; the same value twice is no contradiction."""
    written(kline(0), kline(0), kline(1))
    assert audit(History(kline(0), kline(1)))[0] == 0
    written(kline(0), kline(0, close=Decimal(7)), kline(1))
    code, out, _ = audit(History(kline(0), kline(1)))

    assert (code, row(out)["equal"]) == (1, "2"), "the first of them is equal, and still it is not sound"
    assert "sent twice with one revision" in out


def test_nothing_to_compare_is_1(written, audit):
    """An audit of nothing proves nothing."""
    written(kline(0, interval=1_000))
    code, out, _ = audit(History())

    assert code == 1
    assert "1 klines of 1s not compared: the exchange has no such candles" in out
    assert "nothing was compared" in out


def test_only_what_is_requested_is_compared(written, audit):
    """Symbols, intervals, market and times narrow it down."""
    written(kline(0), kline(70), kline(1, symbol="ETHUSDT"), kline(0, interval=300_000))
    written(kline(2), market="spot")
    history = History(*(kline(number) for number in range(80)), kline(1, symbol="ETHUSDT"))
    code, out, _ = audit(history, "--symbols", "btcusdt", "--intervals", "1m")

    assert (code, history.asked) == (0, [("BTCUSDT", 60_000)])
    assert {"compared": "1", "missing": "59"}.items() <= row(out).items()


def test_requested_and_not_there_is_missing(audit):
    """No file at all: everything the exchange has is missing, and nothing was compared."""
    history = History(*(kline(number) for number in range(3)))
    code, out, _ = audit(history, "--symbols", "BTCUSDT", "--intervals", "1m")

    assert (code, row(out)["missing"]) == (1, "3")


def test_a_damaged_line_is_counted_and_skipped(written, audit):
    """A disk that was full leaves half a line."""
    path = written(kline(0))
    path.write_bytes(path.read_bytes() + b'{"timestamp":1,"exch')
    code, out, _ = audit(History(kline(0)))

    assert code == 0
    assert "1 lines could not be read" in out


def test_months_are_found_by_the_calendar(written, audit):
    """The exchange's M; one that is not over is not missing."""
    month_ms = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    january = kline(interval=31 * 86_400_000, timestamp=month_ms)
    path = written(january)
    path.rename(path.with_name(path.name.replace("202601", "202602")))
    february = kline(interval=28 * 86_400_000, timestamp=month_ms + january.interval)
    code, out, _ = audit(History(january, february), begin="2026-01-01", end="2026-02-10")

    assert code == 0
    assert {"compared": "1", "missing": "0"}.items() <= row(out, "1M").items()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "soon"], "is no time"),
        ([], "--from"),
        (["--from", LATER, "--to", BEGIN], "--from must be before --to"),
        (["--from", BEGIN, "--intervals", "7x"], "7x"),
        (["--from", BEGIN, "--market", "moon"], "linear"),
        (["--from", BEGIN, "--source", "redis"], "Redis keeps no klines"),
        (["--from", BEGIN, "--path", "nowhere/at/all"], "is not a folder"),
    ],
)
def test_wrong_arguments_are_2(tmp_path, capsys, arguments, says):
    """With a sentence about what is wrong."""
    try:
        code = run_audit(read(arguments), Defaults("linear", tmp_path), lambda _market: History())
    except SystemExit as end:
        code = int(end.code or 0)

    assert code == 2
    assert says in capsys.readouterr().err


def test_exchange_that_cannot_be_read_is_1(written, audit):
    """Nothing was proven."""
    written(kline(0))
    code, _, err = audit(History(error=HistoryError("banned")))

    assert (code, "could not be asked: banned" in err) == (1, True)


def test_times_are_utc_or_milliseconds(written, audit):
    """The same moment, three ways."""
    written(kline(0))
    for begin in ("2026-01-06", BEGIN, "2026-01-06T17:29+01:00", str(kline(0).timestamp)):
        assert audit(History(kline(0)), begin=begin)[0] == 0
    assert audit(History(kline(0)), begin="2026-01-06T16:29:01")[0] == 1


def test_default_folder_is_the_settings(tmp_path):
    """Without --path."""
    defaults = Defaults("linear", Path(tmp_path / "none"))
    assert run_audit(read(["--from", BEGIN]), defaults, lambda _: History()) == 2
