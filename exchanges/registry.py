"""The exchanges, by their EXCHANGE name. Importing opens nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from exchanges.bybit.venue import VENUE as BYBIT
from exchanges.contract import Venue

VENUES: Mapping[str, Venue] = MappingProxyType({venue.name: venue for venue in (BYBIT,)})
