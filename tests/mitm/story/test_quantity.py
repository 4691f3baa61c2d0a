"""Sizes in words, and what is none."""

import pytest

from mitm.story.quantity import exact_size, read_size


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
