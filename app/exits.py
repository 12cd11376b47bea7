"""The exit codes of `python main.py`, by name.

Supervisors act on them: a code that a restart cannot mend (SETTINGS) is not restarted for ever.
"""

from enum import IntEnum


class Exit(IntEnum):
    """An exit code of the process; `reason` is one sentence for the last log line."""

    reason: str

    def __new__(cls, code: int, reason: str) -> "Exit":
        """Make a member of the code and its sentence."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    ASKED = 0, "asked to stop, and everything was flushed in time"
    # 1 is Python's own: an unexpected exception.
    SETTINGS = 2, "the settings are wrong; a restart without editing them changes nothing"
    OUTPUT_UNREACHABLE = (
        3,
        "an output or the list of symbols could not be reached at the start, or the embedded server not be kept up",
    )
    THREAD_LOST = 4, "a thread died and could not be revived"
    STOP_DEADLINE = 5, "the stop deadline passed with threads still running"
    STREAM_GIVEN_UP = 6, "a stream failed more often in a row than RECONNECT_MAX_ATTEMPTS allows; a restart tries anew"
