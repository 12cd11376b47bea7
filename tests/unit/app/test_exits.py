"""app.exits."""

from app.exits import Exit


def test_codes_are_the_promised_ones():
    """Supervisors and scripts depend on these numbers."""
    assert {code.name: int(code) for code in Exit} == {
        "ASKED": 0,
        "SETTINGS": 2,
        "OUTPUT_UNREACHABLE": 3,
        "THREAD_LOST": 4,
        "STOP_DEADLINE": 5,
        "STREAM_GIVEN_UP": 6,
    }


def test_each_code_has_its_reason():
    """The last log line can quote a sentence."""
    assert all(len(code.reason) > 20 for code in Exit)
    assert Exit.SETTINGS.reason.startswith("the settings")
