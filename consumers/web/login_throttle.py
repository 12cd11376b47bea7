"""Who tried wrong credentials how often, by address, and how long each wrong try must wait for its answer.

Pure, bounded, the event loop's thread. Right credentials are let in from an address that also tries wrong ones, until
that address has used up what a mistaken program may: then it is not listened to for a while.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

ADDRESSES_LIMIT = 4_096  # remembered; the one not heard of for longest is forgotten first
FREE_TRIES = 2_000  # wrong ones in a row before an address is barred: years would be needed to guess a random key
FORGIVEN_PER_S = FREE_TRIES / 600.0  # so a barred address has all of them again after ten minutes
DELAY_S, DELAY_STEP_S, DELAY_CAP_S = 1.0, 0.05, 5.0  # before "wrong" is said: for the first, for each more, at most
DELAYED_LIMIT = 500  # answers that wait at once; beyond it "wrong" is said at once
IPV6_PREFIX = 64  # what one customer gets: its addresses are one


@dataclass(slots=True)
class _Tries:
    wrong: float
    at_s: float


class Door:
    """Counts wrong tries. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._delayed = 0
        self.wrong = 0
        self.barred = 0

    def __len__(self) -> int:
        return len(self._tries)

    def barred_s(self, address: str) -> float:
        """Return for how long the address is not listened to; 0 where it is."""
        tries = self._look(network_of(address))
        if tries is None or tries.wrong < FREE_TRIES:
            return 0.0
        self.barred += 1
        return (tries.wrong - FREE_TRIES + 1) / FORGIVEN_PER_S

    def wrong_try(self, address: str) -> float:
        """Count a wrong try; returns how long its answer has to wait, in seconds."""
        self.wrong += 1
        network = network_of(address)
        tries = self._look(network)
        if tries is None:
            tries = self._tries[network] = _Tries(0.0, self._clock())
            if len(self._tries) > ADDRESSES_LIMIT:
                self._tries.popitem(last=False)
        tries.wrong += 1
        if self._delayed >= DELAYED_LIMIT:
            return 0.0
        return min(DELAY_S + DELAY_STEP_S * (tries.wrong - 1), DELAY_CAP_S)

    def begin_delay(self) -> None:
        """An answer waits."""
        self._delayed += 1

    def end_delay(self) -> None:
        """It was given, or its client has gone."""
        self._delayed -= 1

    def _look(self, network: str) -> _Tries | None:
        tries = self._tries.get(network)
        if tries is None:
            return None
        now_s = self._clock()
        tries.wrong = max(0.0, tries.wrong - (now_s - tries.at_s) * FORGIVEN_PER_S)
        tries.at_s = now_s
        self._tries.move_to_end(network)
        return tries


def network_of(address: str) -> str:
    """Return what is counted as one: an IPv4 address, or an IPv6 network."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
