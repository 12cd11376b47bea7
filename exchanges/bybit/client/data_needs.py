"""What to say where a library of requirements-client.txt is missing. Imports nothing."""

HOW = "python -m pip install -r requirements-client.txt"


class MissingLibraryError(ModuleNotFoundError):
    """A part of the client that needs more than requirements.txt was used without it."""
