"""The application: joins the packages, reads the command line, lives and ends as a process."""

VERSION = "0.1.0"
"""As in pyproject.toml."""

PYTHON_OLDEST, PYTHON_NEWEST = (3, 11), (3, 14)
"""Those that the project is tested with, as in pyproject.toml."""
