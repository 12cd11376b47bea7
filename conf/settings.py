"""The settings of one process: one typed, frozen object, or every error at once.

`load_settings` reads them; an import or a constructor reads nothing. What is declared is in conf.declarations, types
are in conf.values, names in conf.names, what must hold between settings in conf.checks. Times are seconds unless the
name ends in _ms.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from conf import checks, names
from conf.declarations import SETTINGS
from conf.derived import NEED_REDIS, DerivedSettings
from conf.env_file import DEFAULT, NOTHING, find_env_file, read_env_file
from conf.names import RawSetting, SettingWarning

NOT_IN_A_RELAY = "has no effect in a relay, which has no raw payloads: let the collectors serve these paths"
NO_ALERTS_IN_A_RELAY = "and the other ALERT_ settings have no effect in a relay: the collectors tell of what happens"


class SettingsError(ValueError):
    """The settings are wrong; the text has one line per error: name, value, what is allowed.

    `sound` are the settings with defaults in place of what is wrong, to look for further errors with.
    """

    def __init__(self, text: str, sound: "Settings | None" = None) -> None:
        super().__init__(text)
        self.sound = sound


class Settings(DerivedSettings):
    """The settings of one process: frozen, typed, and checked against each other by `load_settings`."""

    @property
    def warnings(self) -> tuple[SettingWarning, ...]:
        """Warnings of what is suspicious but not wrong, to be logged once logging is set up."""
        found = checks.warnings(self)
        as_written = [warning._replace(name=self.written(warning.name)) for warning in found]
        return (*self._found_on_load, *as_written)

    def relayed(self) -> "Settings":
        """The settings of a process that reads from Redis, not from the exchange; SettingsError without an output."""
        names = tuple(name for name in self.enabled_consumers if name not in NEED_REDIS)
        if not names:
            raise SettingsError("ENABLED_CONSUMERS: a relay needs an output such as websocket, file or console")
        others = {
            "storage_enabled": False,
            "redis_streams": False,
            "raw_record": False,
            "websocket_exchange_paths": "off",
        }
        relayed = self.model_copy(update={"enabled_consumers": names, **others})
        if self.has_alerts or self.alert_heartbeat_url:
            relayed._found_on_load = (*relayed._found_on_load, SettingWarning("ALERT_URLS", NO_ALERTS_IN_A_RELAY))
        if self.websocket_exchange_paths != "off" and "websocket" in names:
            relayed._found_on_load = (
                *relayed._found_on_load,
                SettingWarning("WEBSOCKET_EXCHANGE_PATHS", NOT_IN_A_RELAY),
            )
        return relayed


def load_settings(environ: Mapping[str, str] | None = None, env_file: str | Path | None = DEFAULT) -> Settings:
    """Read the settings from `environ` (default: the process's) and below it from `env_file`.

    `.env` is looked for as in conf.env_file; another file must exist. Raises SettingsError, whose text lists every
    error at once. Proxies and certificates that only the file names go into the process's environment.
    """
    is_process = environ is None
    environ = os.environ if environ is None else environ
    path, choice = find_env_file(environ) if env_file == DEFAULT else (env_file, NOTHING)
    in_file = read_env_file(path, environ)
    own, links = names.without_service_links(environ)  # a line of the file may name a link all the same
    layers = [own, in_file.values]
    found, ignored = names.resolve(layers)
    shown = {name: _shown(name, raw) for name, raw in found.items()}
    settings, field_errors = _build(found, shown)
    wrong = [*choice.errors, *in_file.errors, *field_errors.values(), *checks.errors(settings, shown)]
    if is_process:
        os.environ.update(names.network_variables(os.environ, in_file.values))
    settings._written = {name: raw.name for name, raw in found.items()}
    settings._wrong = frozenset(field_errors)
    settings._env_file = Path(path) if path else None
    settings._found_on_load = (*links, *choice.warnings, *in_file.warnings, *ignored, *names.near_misses(layers))
    if wrong:
        raise SettingsError("\n".join(wrong), settings)
    return settings


def _build(found: Mapping[str, RawSetting], shown: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """The settings, and a line per wrong one, which keeps its default, so that the rest is checked."""
    name_of = {SETTINGS[name].field: name for name in found}
    lines: dict[str, str] = {}
    while True:  # again without what is wrong: a URL hides the parts that are set beside it
        sound = {field: _in_seconds(found[name]) for field, name in name_of.items() if name not in lines}
        try:
            return Settings.model_validate(sound), lines
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                field = str(problem["loc"][0])
                name = name_of[field] if field in sound else f"{field.partition('_')[0].upper()}_URL"  # a part of it
                unit = f"; {found[name].name} is in milliseconds" if found[name].is_in_milliseconds else ""
                text = f"{shown[name]}: {_reason(problem)}allowed: {SETTINGS[name].allowed.text}{unit}"
                lines.setdefault(name, text)


def _in_seconds(raw: RawSetting) -> str:
    """The text in the canonical unit; one that is no number stays as it is and fails as itself."""
    try:
        return str(float(raw.value) / 1000) if raw.is_in_milliseconds else raw.value
    except ValueError:
        return raw.value


def _reason(problem: Any) -> str:
    """The text of a validator of ours, or which item of a list is wrong; pydantic's own words are for programmers."""
    if problem["type"] == "value_error":
        return f"{problem['ctx']['error']}; "
    return f"not understood: {problem['input']!r}; " if len(problem["loc"]) > 1 else ""


def _shown(name: str, raw: RawSetting) -> str:
    if SETTINGS[name].allowed.is_secret:
        return f"{raw.name}=***"
    return f"{raw.name}={checks.without_password(raw.value)!r}"
