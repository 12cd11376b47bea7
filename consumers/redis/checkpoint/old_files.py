"""The files in which versions before the store kept the checkpoint: read once, and renamed when the store has it.

Any thread, before anything is published.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import structlog

from consumers.redis.checkpoint.store import KlineHead, interval_of, last_of
from model.files import read_file
from model.records import Kline, LastPublished, MarketKlines, SeriesKey

log = structlog.get_logger()

RECENT_MS = 120_000  # of what is complete, only what ended so shortly before its series' newest counts
READ = ".read"  # ending of a file that is not needed any more


class KlinesLine(msgspec.Struct):
    """An envelope of klines as far as it is read here: the market, and the klines whole."""

    channel: str
    data: list[Kline]


_decode = msgspec.json.Decoder(KlinesLine).decode


def read_old_files(path: Path) -> tuple[dict[SeriesKey, LastPublished], MarketKlines]:
    """Read what was published last, and the klines published lately; empty where there is nothing to be read."""
    known = _read_known(path)
    lines: list[bytes] = []
    for file in _recent_files(path):
        try:
            lines += read_file(file).splitlines()
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("recent_klines_unreadable", path=str(file), error=str(error))
    recent = newest_of(read_lines(lines))
    if known or recent:
        sentence = f"What the last run published is taken over from {path}, and is kept in the store from now on."
        log.info("checkpoint_file_read", sentence=sentence, path=str(path), series=len(known), klines=len(recent))
    return known, recent


def rename_old_files(path: Path) -> None:
    """Rename what was read in an earlier run, and remove its lock; nothing where there are none."""
    for file in (path, *_recent_files(path)):
        try:
            file.rename(file.with_name(file.name + READ))
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("checkpoint_file_not_renamed", path=str(file), error=str(error))
        else:
            sentence = f"The file {file} is not needed any more, for the store has what it had; it now ends in {READ}."
            log.info("checkpoint_file_renamed", sentence=sentence, path=str(file))
            with contextlib.suppress(OSError):
                path.with_name(f".{path.name}.lock").unlink(missing_ok=True)


def newest_of(klines: Iterable[tuple[str, Kline]]) -> MarketKlines:
    """The last revision of each kline that is not complete, or ended less than `RECENT_MS` before its key's newest."""
    last: dict[tuple[str, str, int, int], Kline] = {}
    newest: dict[tuple[str, str, int], int] = {}
    for market, kline in klines:
        key = (market, kline.symbol, kline.interval)
        known = last.get((*key, kline.timestamp))
        if known is None or kline.revision >= known.revision:
            last[*key, kline.timestamp] = kline
        newest[key] = max(newest.get(key, 0), kline.timestamp)
    kept = [
        (key[0], kline)
        for key, kline in last.items()
        if not kline.complete or kline.timestamp > newest[key[:3]] - RECENT_MS
    ]
    return sorted(kept, key=lambda one: one[1].timestamp)


def read_lines(lines: Iterable[bytes]) -> Iterator[tuple[str, Kline]]:
    """Decode lines of a file of klines, or messages of klines; what is none is passed over."""
    for line in lines:
        try:
            message = _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):  # cut by a crash, or written by another program
            continue
        yield from ((message.channel, kline) for kline in message.data)


def _read_known(path: Path) -> dict[SeriesKey, LastPublished]:
    try:
        by_market = msgspec.json.decode(read_file(path), type=dict[str, list[KlineHead]])
        return {
            (market, head.symbol, interval_of(head)): last_of(head)
            for market, heads in by_market.items()
            for head in heads
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors
        log.warning("checkpoint_file_unreadable", path=str(path), error=str(error))
        return {}


def _recent_files(path: Path) -> tuple[Path, Path]:
    """Name the files of the klines published lately, the older one first."""
    newer = path.with_suffix(".recent.jsonl")
    return newer.with_name(f"{newer.name}.1"), newer
