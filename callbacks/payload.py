"""What happens to one payload, whatever its kind: it goes to the raw channel, byte for byte.

Called on stream threads with what one read brought: nothing here waits, parses or copies. main.py binds the callbacks
to a running collector; until then a payload has nowhere to go.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

Hand = Callable[[Sequence[bytes]], Any]
"""Takes payloads in their order: one, or many that came together."""


def _unbound(_payloads: Sequence[bytes]) -> None:
    raise RuntimeError("no collector runs: payloads have nowhere to go before main.run()")


def _nowhere(_payloads: Sequence[bytes]) -> None:
    """Take payloads of a kind that is not wanted on Redis."""


class PayloadCallback:
    """A function of one payload with a market: None is the main one, "spot" the one collected beside it."""

    never_blocks = True  # so that its connections may be read on one thread

    def __init__(self, kind: str, market: str | None = None) -> None:
        self.kind = kind
        self.market = market
        self._publish: Hand = _unbound

    def __call__(self, payload: bytes) -> None:
        """Hand on one payload, exact bytes. Never blocks."""
        self.take_all((payload,))

    def take_all(self, payloads: Sequence[bytes]) -> None:
        """Hand on payloads in their order, exact bytes. Never blocks."""
        self._publish(payloads)

    def bind(self, publish: Hand | None) -> None:
        """From now on give payloads to `publish`; None: this kind has no raw channel."""
        self._publish = publish or _nowhere

    def copy(self) -> Self:
        """Make a callback of the same kind and market, to be bound by itself."""
        return copy.copy(self)

    def unbind(self) -> None:
        """The collector is gone."""
        self._publish = _unbound

    def __repr__(self) -> str:
        return f"<callback for {self.market or 'main market'} {self.kind}>"
