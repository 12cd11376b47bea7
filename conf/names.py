"""Which names a setting is read by, and from where: the environment, then `.env` (conf.env_file).

Pure. Knows names and written texts, no types: that is conf.settings' part.
Refuses to guess: a name that is only nearly one of ours is a warning, never a value.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

# The one alias table: canonical name -> other names it is read by, first found wins after the canonical one.
ALIASES: dict[str, tuple[str, ...]] = {
    "EXCHANGE": ("STREAMER_EXCHANGE",),
    "SYMBOLS": ("BYBIT_SYMBOLS", "STREAMER_EXCHANGE_SYMBOLS"),
    "LOAD_ALL_SYMBOLS": ("STREAMER_EXCHANGE_LOAD_ALL_SYMBOLS",),
    "SYMBOLS_LIMIT": ("STREAMER_EXCHANGE_SYMBOLS_LIMIT",),
    "SOCKET_POOL_SIZE": ("STREAMER_EXCHANGE_SOCKET_POOL_SIZE",),
    "ENABLE_SPOT_STREAM": ("STREAMER_ENABLE_SPOT_STREAM",),
    "RECONNECT_DELAY": ("RECONNECT_INTERVAL_MS",),
    "KLINE_INTERVALS": ("STREAMER_KLINE_INTERVALS",),
    "AGGREGATOR_WAITER_MODE_ENABLED": ("STREAMER_AGGREGATOR_WAITER_MODE_ENABLED",),
    "ENABLE_KLINES_STREAM": ("STREAMER_ENABLE_KLINES_STREAM",),
    "ENABLE_PRICE_STREAM": ("STREAMER_ENABLE_PRICE_STREAM",),
    "ENABLE_TICKER_STREAM": ("STREAMER_ENABLE_TICKER_STREAM",),
    "ENABLE_TRADES_STREAM": ("STREAMER_ENABLE_TRADES_STREAM",),
    "ENABLED_CONSUMERS": ("STREAMER_ENABLED_CONSUMERS",),
    "REDIS_URL": ("STREAMER_REDIS_URL",),
    "REDIS_HOST": ("STREAMER_REDIS_HOST",),
    "REDIS_PORT": ("STREAMER_REDIS_PORT",),
    "REDIS_USER": ("STREAMER_REDIS_USER",),
    "REDIS_PASSWORD": ("STREAMER_REDIS_PASSWORD",),
    "REDIS_DB": ("STREAMER_REDIS_DB", "STREAMER_REDIS_BASE"),
    "REDIS_MAIN_KEY": ("STREAMER_REDIS_MAIN_KEY",),
    "STORAGE_ENABLED": ("STREAMER_STORAGE_ENABLED",),
    "STORAGE_BUFFER_FLUSH_SIZE": ("STREAMER_STORAGE_BUFFER_FLUSH_SIZE",),
    "STORAGE_BUFFER_FLUSH_INTERVAL": ("STREAMER_STORAGE_BUFFER_FLUSH_INTERVAL",),
    "WEBSOCKET_URL": ("STREAMER_WEBSOCKET_URL",),
    "WEBSOCKET_HOST": ("STREAMER_WEBSOCKET_HOST",),
    "WEBSOCKET_PORT": ("STREAMER_WEBSOCKET_PORT",),
    "WEBSOCKET_PATH": ("STREAMER_WEBSOCKET_PATH",),
    "WEBSOCKET_TLS_CERT": ("STREAMER_WEBSOCKET_TLS_CERT",),
    "WEBSOCKET_TLS_KEY": ("STREAMER_WEBSOCKET_TLS_KEY",),
    "WEBSOCKET_COMPRESSION": ("STREAMER_WEBSOCKET_COMPRESSION",),
    "WSS_AUTH_USER": ("STREAMER_WSS_AUTH_USER",),
    "WSS_AUTH_KEY": ("STREAMER_WSS_AUTH_KEY",),
    "FILE_CONSUMER_BASE_PATH": ("STREAMER_FILE_CONSUMER_BASE_PATH",),
    "FILE_CONSUMER_RETENTION_HOURS": ("STREAMER_FILE_CONSUMER_RETENTION_HOURS",),
    "LOG_LEVEL": ("STREAMER_LOG_LEVEL",),
    "LOG_FORMAT": ("STREAMER_LOG_FORMAT",),
    "LOG_FILE": ("STREAMER_LOG_FILE",),
}
# An address as a whole, and the parts that say the same: what stands nearer wins, the URL within one layer.
WHOLE_AND_PARTS = {
    "REDIS_URL": ("REDIS_HOST", "REDIS_PORT"),
    "WEBSOCKET_URL": ("WEBSOCKET_HOST", "WEBSOCKET_PORT"),
}
PREFIX = "STREAMER_"  # nobody else's: an unknown name that begins so is meant for us
NOT_OURS = frozenset({"STREAMER_HOST"})  # the reverse proxy's, in a .env that both read
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # in small letters they mean the same
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
LIKENESS = 0.84  # of difflib: KLINE_INTERVAL and REDIS_PASWORD are above, REDIS_PORT_6379_TCP is below
ENV_FILE = "ENV_FILE"  # an environment variable, for it says where the others are
# What Kubernetes, and Docker's links, put into the environment for each service: one called redis gives REDIS_PORT too.
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+", re.IGNORECASE)
SERVICE_NAME = re.compile(r"\w+(_SERVICE_(HOST|PORT)(_\w+)?|_PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")


class RawSetting(NamedTuple):
    """A setting as the user wrote it: under which name, what, and in which layer (0 is the nearest)."""

    name: str
    value: str
    layer: int


class SettingWarning(NamedTuple):
    """Something about the settings that is odd but not wrong: which name, and what to do."""

    name: str
    advice: str


def names_of(canonical: str) -> tuple[str, ...]:
    """Every name that `canonical` is read by, the canonical one first."""
    return (canonical, *ALIASES.get(canonical, ()))


def without_service_links(
    environ: Mapping[str, str], canonical_names: Iterable[str]
) -> tuple[dict[str, str], list[SettingWarning]]:
    """Leave out what a container platform set about its services, and say so of names that are settings too."""
    links = {
        name for name, value in environ.items() if name.endswith("_PORT") and SERVICE_LINK.fullmatch(value.strip())
    }
    links |= {name for name in environ if SERVICE_NAME.fullmatch(name)}
    known = {other for canonical in canonical_names for other in names_of(canonical)}
    return {name: value for name, value in environ.items() if name not in links}, [
        SettingWarning(
            name, "ignored, because it is the link of a container service; in Kubernetes: enableServiceLinks: false"
        )
        for name in sorted(links & known)
    ]


def resolve(
    layers: Sequence[Mapping[str, str]], canonical_names: Iterable[str]
) -> tuple[dict[str, RawSetting], list[SettingWarning]]:
    """What holds for each canonical name, nearest layer first; empty texts say nothing and leave the default.

    A name that stands in a nearer layer hides every name of the same setting further away, even when it is
    empty: an environment variable set to nothing blanks the line in `.env`.
    """
    found: dict[str, RawSetting] = {}
    warned: list[SettingWarning] = []
    for canonical in canonical_names:
        written = _candidates(layers, names_of(canonical))
        if written:
            found[canonical] = written[0]
        warned += [_ignored(other.name, written[0].name) for other in written if other.value != written[0].value]
    return _drop_farther_wholes(found, warned)


def _candidates(layers: Sequence[Mapping[str, str]], names: tuple[str, ...]) -> list[RawSetting]:
    for number, layer in enumerate(layers):
        present = [name for name in names if name in layer]
        if present:
            texts = [RawSetting(name, layer[name].strip(), number) for name in present]
            return [written for written in texts if written.value]
    return []


def _ignored(name: str, winner: str) -> SettingWarning:
    return SettingWarning(name, f"ignored, because {winner} is set too; remove one of them")


def _drop_farther_wholes(
    found: dict[str, RawSetting], warned: list[SettingWarning]
) -> tuple[dict[str, RawSetting], list[SettingWarning]]:
    for whole, parts in WHOLE_AND_PARTS.items():
        nearer = [found[part] for part in parts if part in found and whole in found]
        nearer = [part for part in nearer if part.layer < found[whole].layer]
        if nearer:
            warned.append(_ignored(found.pop(whole).name, nearer[0].name))
    return found, warned


def network_variables(environ: Mapping[str, str], in_file: Mapping[str, str]) -> dict[str, str]:
    """Proxies and certificates that a `.env` file alone names: they are read from the environment, see network/."""
    known = {*PROXIES, *map(str.lower, PROXIES), *CERTIFICATES} & set(in_file)
    return {name: in_file[name] for name in known if name.upper() not in environ and name.lower() not in environ}


def near_misses(layers: Sequence[Mapping[str, str]], canonical_names: Sequence[str]) -> list[SettingWarning]:
    """A warning for every unknown name that was probably meant for us, with the nearest known one.

    The environment (layer 0) is shared with other programs: there a name must share its first word with one
    of ours. `.env` is ours alone.
    """
    known = [name for canonical in canonical_names for name in names_of(canonical)]
    first_words = {name.split("_")[0] for name in known}
    warned = []
    for number, layer in enumerate(layers):
        for name in sorted(set(layer) - set(known) - NOT_OURS):
            if number > 0 or name.upper().split("_")[0] in first_words:
                warned += _resembling(name, known)
    return warned


def _resembling(name: str, known: list[str]) -> list[SettingWarning]:
    upper = name.upper()
    if close := difflib.get_close_matches(upper, known, n=1, cutoff=LIKENESS):
        return [SettingWarning(name, f"unknown and ignored; did you mean {close[0]}?")]
    if upper.startswith(PREFIX):
        return [SettingWarning(name, "unknown and ignored; .env.example lists every setting")]
    return []
