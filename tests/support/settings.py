"""Settings of a test's own."""

from conf.settings import Settings, load_settings


def settings_of(**environ: object) -> Settings:
    """Return the settings of these variables alone: no file, and nothing of the process's environment."""
    return load_settings({name: str(value) for name, value in environ.items()}, env_file=None)
