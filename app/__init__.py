"""The application: joins the packages, reads the command line, lives and ends as a process."""

VERSION = "0.1.0"
"""As in pyproject.toml."""
