"""Conformance: `python -m exchanges.conformance okx` checks all that a venue must keep to, and says what it proved.

Of each venue: its declaration and its protocol (pure), recorded frames (--data), and its simulated exchange, which is
started as a process of its own: nothing of it is imported. Main thread; sends nothing to a real exchange. A check that
cannot run says why, and the exit code says so.
"""
