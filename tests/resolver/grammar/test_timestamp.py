"""Times in words, and what is none."""

import pytest

from resolver.grammar.timestamp import describe_duration, read_seconds


@pytest.mark.parametrize(
    "value", [-1, True, "7", None, 1 << 35, 1e300, float("nan"), float("inf"), 10**400]
)
def test_what_is_no_time(value: object) -> None:
    """A number of seconds is one that somebody may mean."""
    assert read_seconds(value) is None
    assert read_seconds(1.5) == 1.5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (60, "1 min"),
        (14400, "4 h"),
        (90061, "1 d 1 h 1 min 1 s"),
        (31_536_000, "365 d"),
    ],
)
def test_durations(seconds: int, text: str) -> None:
    """What is nothing is left out."""
    assert describe_duration(seconds) == text
