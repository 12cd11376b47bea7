"""Payloads decoded many at a time.

Pure; any one thread. A payload that cannot be read costs only itself: it is reported and left out.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from model.ports import Report

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, MemoryError)
"""What decoding a foreign payload may raise: bad UTF-8 is a ValueError, a thousand brackets a RecursionError."""


class BatchDecoder(Generic[T]):
    """Decodes payloads as `kind`; what is no such message is told to `report(cause, payload)`."""

    def __init__(self, kind: type[T], cause: str, report: Report) -> None:
        self._all: msgspec.json.Decoder[Any] = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
        self._one = msgspec.json.Decoder(kind)
        self._cause, self._report = cause, report

    def __call__(self, payloads: Sequence[bytes]) -> list[T]:
        """Return the messages in their order."""
        try:
            messages: list[T] = self._all.decode(b"[" + b",".join(payloads) + b"]")
        except UNREADABLE:
            return self._one_by_one(payloads)
        if len(messages) != len(payloads):  # one payload that reads as two is none
            return self._one_by_one(payloads)
        return messages

    def _one_by_one(self, payloads: Sequence[bytes]) -> list[T]:
        messages = []
        for payload in payloads:
            try:
                messages.append(self._one.decode(payload))
            except UNREADABLE:
                self._report(self._cause, payload)
        return messages
