"""The text that counts for a setting, of the environment and then of `.env` (conf.env_file), by all its names.

Pure: names and texts, no types. A name that is only nearly that of a setting is a warning.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from conf.declarations import ALL_NAMES, SETTINGS

# An address as a whole, and its parts: the nearer layer wins, and the whole within one layer.
WHOLE_AND_PARTS = {
    "REDIS_URL": ("REDIS_HOST", "REDIS_PORT"),
    "WEBSOCKET_URL": ("WEBSOCKET_HOST", "WEBSOCKET_PORT"),
}
PREFIX = "STREAMER_"  # no other program's: an unknown name that begins so is meant as a setting
OTHERS_NAMES = frozenset({"STREAMER_HOST"})  # the reverse proxy's, in a .env that both read
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # in small letters they mean the same
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
LIKENESS = 0.84  # of difflib: KLINE_INTERVAL and REDIS_PASWORD are above, REDIS_PORT_6379_TCP is below
# What Kubernetes, and Docker's links, put into the environment for each service: one called redis gives REDIS_PORT too.
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+", re.IGNORECASE)
SERVICE_NAME = re.compile(r"\w+(_SERVICE_(HOST|PORT)(_\w+)?|_PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")

Layer = Mapping[str, str]  # names and texts of one source


class RawSetting(NamedTuple):
    """The text of a setting, the name it was written under, and the layer it is from (0 is the nearest)."""

    name: str
    value: str
    layer: int

    @property
    def is_in_milliseconds(self) -> bool:
        """Whether this is an alias in milliseconds, of a setting in seconds."""
        return self.name.endswith("_MS") and self.name not in SETTINGS


class SettingWarning(NamedTuple):
    """A setting that is suspicious but not wrong: its name, and what to do."""

    name: str
    advice: str


def without_service_links(environ: Layer) -> tuple[dict[str, str], list[SettingWarning]]:
    """Leave out what a container platform set about its services; a warning where that is a setting's name too."""
    links = {
        name
        for name, value in environ.items()
        if SERVICE_NAME.fullmatch(name) or (name.endswith("_PORT") and SERVICE_LINK.fullmatch(value.strip()))
    }
    advice = "ignored, because it is the link of a container service; in Kubernetes: enableServiceLinks: false"
    warned = [SettingWarning(name, advice) for name in sorted(links & ALL_NAMES)]
    return {name: value for name, value in environ.items() if name not in links}, warned


def resolve(layers: Sequence[Layer]) -> tuple[dict[str, RawSetting], list[SettingWarning]]:
    """The text that counts for each canonical name, nearest layer first; an empty text leaves the default.

    A name in a nearer layer hides every name of the same setting further away, even when it is
    empty: an environment variable set to nothing blanks the line in `.env`.
    """
    found: dict[str, RawSetting] = {}
    warned: list[SettingWarning] = []
    for setting in SETTINGS.values():
        if candidates := _candidates(layers, setting.names):
            winner, *others = candidates
            found[setting.name] = winner
            warned += [_ignored(other, winner) for other in others if other.value != winner.value]
    for whole, parts in WHOLE_AND_PARTS.items():
        nearer = [found[part] for part in parts if {part, whole} <= found.keys()]
        nearer = [part for part in nearer if part.layer < found[whole].layer]
        if nearer:
            warned.append(_ignored(found.pop(whole), nearer[0]))
    return found, warned


def _candidates(layers: Sequence[Layer], names: tuple[str, ...]) -> list[RawSetting]:
    """The texts in the nearest layer that has one of the names."""
    for number, layer in enumerate(layers):
        if present := [name for name in names if name in layer]:
            return [RawSetting(name, layer[name].strip(), number) for name in present if layer[name].strip()]
    return []


def _ignored(loser: RawSetting, winner: RawSetting) -> SettingWarning:
    return SettingWarning(loser.name, f"ignored, because {winner.name} is set too; remove one of them")


def network_variables(environ: Layer, in_file: Layer) -> dict[str, str]:
    """Proxies and certificates that the `.env` file alone names: network/ and libraries read the environment."""
    known = {*PROXIES, *map(str.lower, PROXIES), *CERTIFICATES} & set(in_file)
    return {name: in_file[name] for name in known if name.upper() not in environ and name.lower() not in environ}


def near_misses(layers: Sequence[Layer]) -> list[SettingWarning]:
    """A warning for every unknown name that was probably meant as a setting, with the nearest known one.

    The environment (layer 0) is shared with other programs: there a name must share its first word with a
    setting's. `.env` is read by the collector alone.
    """
    first_words = {name.split("_")[0] for name in ALL_NAMES}
    return [
        warning
        for number, layer in enumerate(layers)
        for name in sorted(set(layer) - ALL_NAMES - OTHERS_NAMES)
        if number > 0 or name.upper().split("_")[0] in first_words
        for warning in _near_miss(name)
    ]


def _near_miss(name: str) -> list[SettingWarning]:
    known = [name for setting in SETTINGS.values() for name in setting.names]
    if close := difflib.get_close_matches(name.upper(), known, n=1, cutoff=LIKENESS):
        return [SettingWarning(name, f"unknown and ignored; did you mean {close[0]}?")]
    if name.upper().startswith(PREFIX):
        return [SettingWarning(name, "unknown and ignored; .env.example lists every setting")]
    return []
