"""What several packages' unit tests get."""

import pytest

from tests.support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """Monotonic seconds, moved by hand."""
    return FakeClock()
