"""Wrong logins by address: how long each waits for its answer, and which addresses are blocked for a while.

Pure, bounded, the event loop's thread. Right credentials are accepted from an address that also sends wrong ones, until
that address has used up what a mistaken program may.
"""

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterator

ADDRESSES_LIMIT = 4_096  # kept; the one whose last failure is the oldest goes first
FREE_TRIES = 2_000  # wrong ones in a row before an address is blocked: years would be needed to guess a random key
FORGIVEN_PER_S = FREE_TRIES / 600.0  # so a blocked address has all of them again after ten minutes
DELAY_S, DELAY_STEP_S, DELAY_CAP_S = 1.0, 0.05, 5.0  # before "wrong" is answered: the first, each more, at most
DELAYED_LIMIT = 500  # answers that are delayed at once; beyond it "wrong" is answered at once
IPV6_PREFIX = 64  # what one customer gets: its addresses are one


class LoginThrottle:
    """Counts wrong logins; each is forgiven after a while. `clock` gives monotonic seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        free_tries: int = FREE_TRIES,
        forgiven_per_s: float = FORGIVEN_PER_S,
    ) -> None:
        self._clock, self._free_tries, self._forgiven_per_s = clock, free_tries, forgiven_per_s
        self._forgiven_at_s: dict[str, float] = {}  # by address: when its last wrong login is forgiven
        self._delayed = 0
        self.wrong = self.blocked = 0

    def __len__(self) -> int:
        return len(self._forgiven_at_s)

    def blocked_for_s(self, address: str) -> float:
        """Return for how long logins of the address are refused unread; 0 where they are not."""
        over = self._wrong_of(network_of(address)) - self._free_tries
        if over < 0:
            return 0.0
        self.blocked += 1
        return (over + 1) / self._forgiven_per_s

    def failed(self, address: str) -> float:
        """Count a wrong login; returns how long its answer is to be delayed, in seconds."""
        self.wrong += 1
        network = network_of(address)
        wrong = self._wrong_of(network) + 1
        self._forgiven_at_s.pop(network, None)
        self._forgiven_at_s[network] = self._clock() + wrong / self._forgiven_per_s
        if len(self._forgiven_at_s) > ADDRESSES_LIMIT:
            del self._forgiven_at_s[next(iter(self._forgiven_at_s))]
        return 0.0 if self._delayed >= DELAYED_LIMIT else min(DELAY_S + DELAY_STEP_S * (wrong - 1), DELAY_CAP_S)

    @contextlib.contextmanager
    def delaying(self) -> Iterator[None]:
        """Count an answer as delayed while the context lasts."""
        self._delayed += 1
        try:
            yield
        finally:
            self._delayed -= 1

    def _wrong_of(self, network: str) -> float:
        """Return the wrong logins that are not forgiven yet."""
        left_s = max(0.0, self._forgiven_at_s.get(network, 0.0) - self._clock())
        return round(left_s * self._forgiven_per_s, 6)  # a moment plus a span, less that moment, is not the span


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
