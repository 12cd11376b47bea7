"""The exchanges, by their EXCHANGE name: the folders here that have a venue.py. Importing this imports none of them."""

import importlib
from collections.abc import Iterator, Mapping
from importlib.resources import files

from exchanges.contract import Venue


class Venues(Mapping[str, Venue]):
    """The declaration of each exchange, imported when it is asked for: a mistake in one costs no other's user."""

    def __getitem__(self, name: str) -> Venue:
        """Import a venue; KeyError where there is no such folder, else what its modules raise."""
        if name not in set(self):
            raise KeyError(name)
        venue: Venue = importlib.import_module(f"exchanges.{name}.venue").VENUE
        return venue

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.name for path in files("exchanges").iterdir() if (path / "venue.py").is_file()))

    def __len__(self) -> int:
        return len(list(iter(self)))


VENUES = Venues()
