"""Sizes and times in words, and what is none."""

import pytest

from mitm.story.quantity import describe_duration, exact_size, read_seconds, read_size


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB (1,000 bytes)"),
        (2097982, "2.1 MB (2,097,982 bytes)"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    """In words, and to the byte."""
    assert exact_size(number) == text


@pytest.mark.parametrize("value", [-1, 1.5, True, "7", None, 1 << 63, [], {}])
def test_what_is_no_size(value: object) -> None:
    """A size is a number of bytes that could be."""
    assert read_size(value) is None
    assert read_size((1 << 63) - 1) == (1 << 63) - 1


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
