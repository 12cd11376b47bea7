"""Outputs: a fan-out of envelopes, one bounded queue and one thread per output."""

from consumers.manager import ConsumerManager

__all__ = ["ConsumerManager"]
