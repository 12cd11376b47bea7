"""Settings of files, Parquet, recordings and the console, in the outputs' own records."""

from pathlib import Path

from app.options import output_options
from conf.settings import load_settings

WRITTEN = {
    "FILE_CONSUMER_MAX_GB": "1.5",
    "FILE_CONSUMER_COMPRESSION": "GZIP",
    "PARQUET_PATH": "p",
    "PARQUET_RETENTION_HOURS": "7",
    "PARQUET_MAX_GB": "2",
    "PARQUET_FLUSH_INTERVAL": "5",
    "RAW_RECORD": "true",
    "RAW_RECORD_PATH": "r",
    "RAW_RECORD_KINDS": "trades",
    "RAW_RECORD_RETENTION_HOURS": "0",
    "RAW_RECORD_MAX_GB": "3",
    "CONSOLE_LIVE": "never",
    "SHARD": "2/3",
}


def test_every_setting_arrives():
    """A setting that changes nothing misleads."""
    settings = load_settings(WRITTEN, None)
    made = output_options(settings, status=lambda: {"streams": 1})
    options, record = made.consumers, made.recorder
    assert (options.file.max_gb, options.file.compression) == (1.5, "gzip")
    found = options.parquet
    assert (found.base_path, found.retention_hours, found.max_gb, found.flush_s) == (Path("p"), 7, 2, 5)
    assert (options.console.live, options.console.status()) == ("never", {"streams": 1})
    assert record is not None
    assert (record.base_path, record.kinds, record.retention_hours, record.max_gb) == (Path("r"), ("trades",), 0, 3)
    assert record.name == found.name == "bybit_linear_shard2of3", "processes that share a folder have their own"
