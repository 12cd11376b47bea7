"""The example files of the earlier systems, as they stand: each starts what it promises, or logs what is missing."""

from pathlib import Path

import pytest

from conf.coins import CoinsFile
from conf.settings import SettingsError, load_settings

KLINES_STREAMER = """\
BYBIT_SYMBOLS=BTCUSDT,ETHUSDT
KLINE_INTERVALS=1m,5m,1h,4h,1d
REDIS_URL=redis://localhost:6379/0
WEBSOCKET_URL=wss://0.0.0.0:9500
WSS_AUTH_KEY=your_secret_key
WSS_AUTH_USER=your_username
"""
MULTI_EXCHANGE_STREAMER = """\
STREAMER_EXCHANGE=bybit  # or 'binance', 'okx', etc.
STREAMER_EXCHANGE_SYMBOLS=BTCUSDT,ETHUSDT
STREAMER_EXCHANGE_LOAD_ALL_SYMBOLS=false
STREAMER_EXCHANGE_SYMBOLS_LIMIT=
STREAMER_EXCHANGE_SOCKET_POOL_SIZE=100
STREAMER_KLINE_INTERVALS=1m,5m,1h,4h,1D
STREAMER_AGGREGATOR_WAITER_MODE_ENABLED=true
STREAMER_ENABLE_KLINES_STREAM=true
STREAMER_ENABLE_PRICE_STREAM=false
STREAMER_ENABLE_TICKER_STREAM=false
STREAMER_ENABLE_TRADES_STREAM=false
STREAMER_ENABLE_SPOT_STREAM=false
STREAMER_ENABLED_CONSUMERS=redis,websocket,console,file
STREAMER_REDIS_HOST=redis-host
STREAMER_REDIS_PORT=6379
STREAMER_REDIS_USER=
STREAMER_REDIS_PASSWORD=
STREAMER_REDIS_BASE=0
STREAMER_REDIS_MAIN_KEY=market-data
STREAMER_WEBSOCKET_HOST=0.0.0.0
STREAMER_WEBSOCKET_PORT=9500
STREAMER_WEBSOCKET_PATH=/
STREAMER_WSS_AUTH_KEY=your_secret_key
STREAMER_WSS_AUTH_USER=admin
STREAMER_STORAGE_ENABLED=false
STREAMER_STORAGE_BUFFER_FLUSH_SIZE=100
STREAMER_STORAGE_BUFFER_FLUSH_INTERVAL=1.0
STREAMER_LOG_LEVEL=INFO
STREAMER_LOG_FORMAT=%(asctime)s - %(name)s - %(levelname)s - %(message)s
STREAMER_LOG_FILE=
STREAMER_HOST=your-domain.com
"""
STREAMING_COLLECTOR = """\
REDIS_HOST=localhost
REDIS_PORT=6379
REDIS_PASSWORD=
"""
SPOT_PRICE_BOT = """\
# Bybit WebSocket Configuration
BYBIT_WS_URL=wss://stream.bybit.com/v5/public/spot

# Redis Configuration
REDIS_HOST=localhost
REDIS_PORT=6379
REDIS_PASSWORD=
REDIS_DB=0

# Application Configuration
LOG_LEVEL=info

# Reconnection Configuration
RECONNECT_INTERVAL_MS=5000
RECONNECT_MAX_ATTEMPTS=10
"""
SPOT_PRICE_BOTS_COINS = """\
{
  "coins": [
    "BTCUSDT",
    "ETHUSDT",
    "SOLUSDT",
    "BNBUSDT",
    "DOGEUSDT"
  ]
}
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Settings of a .env with this text, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def loaded(text, **environ):
        Path(".env").write_text(text)
        return load_settings(environ, Path(".env"))

    return loaded


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        (KLINES_STREAMER, ["WEBSOCKET_URL"]),
        (MULTI_EXCHANGE_STREAMER, ["STREAMER_WEBSOCKET_HOST"]),
        (STREAMING_COLLECTOR, []),
        (SPOT_PRICE_BOT, ["STORAGE_ENABLED", "ENABLE_PRICE_STREAM"]),
    ],
)
def test_each_example_starts_and_warns_of_what_it_needs(load, text, warned):
    """One line for what is promised and not switched on, or hardly meant."""
    assert [warning.name for warning in load(text).warnings] == warned


def test_each_name_of_the_multi_exchange_streamer_is_its_setting(load):
    """None is quietly the default."""
    settings = load(MULTI_EXCHANGE_STREAMER)
    assert settings.enabled_consumers == ("redis", "websocket", "console", "file")
    assert (settings.redis_host, settings.redis_main_key, settings.log_level) == ("redis-host", "market-data", "info")
    assert (settings.websocket_host, settings.wss_auth_user) == ("0.0.0.0", "admin")
    assert settings.kline_intervals == ("1m", "5m", "1h", "4h", "1D")
    with pytest.raises(SettingsError, match=r"^STREAMER_EXCHANGE='nowhere'.*allowed: .*bybit"):
        load(MULTI_EXCHANGE_STREAMER.replace("bybit ", "nowhere "))


def test_the_spot_price_bots_files_are_spot_and_its_coins(load):
    """Its endpoint, its list where it had it, its unit of time; coins are checked against what the exchange lists."""
    settings = load(SPOT_PRICE_BOT)
    Path("config").mkdir()
    Path("config/coins.json").write_text(SPOT_PRICE_BOTS_COINS)
    coins = CoinsFile(*settings.coins_paths)
    assert coins.load() == ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "DOGEUSDT")
    assert (settings.markets, settings.reconnect_delay, settings.reconnect_max_attempts) == (("spot",), 5.0, 10)
    assert (settings.has_rest, settings.repairs_klines) == (True, True)


def test_what_the_spot_price_bot_promised_is_warned_of_until_it_is_switched_on(load):
    """By its list of coins alone, too."""
    Path("config").mkdir()
    Path("config/coins.json").write_text(SPOT_PRICE_BOTS_COINS)
    assert [warning.name for warning in load("").warnings] == ["STORAGE_ENABLED", "ENABLE_PRICE_STREAM"]
    on = {"STORAGE_ENABLED": "true", "ENABLE_PRICE_STREAM": "true", "ENABLED_CONSUMERS": "redis,console"}
    assert load(SPOT_PRICE_BOT, **on).warnings == ()
