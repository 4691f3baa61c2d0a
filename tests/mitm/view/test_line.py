"""What others wrote stays within its line, and its column."""

import pytest

from mitm.view.line import cell, counted, fields, first, paragraph, rest, shown, table
from mitm.view.quantity import duration, exact_size, moment, read_size


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("größer, 大きい", "größer, 大きい"),
        ("a\nb\r\tc\0", r"a\nb\r\tc\x00"),
        ("\x1b[31mred\x9b2J", r"\x1b[31mred\x9b2J"),
        ("abc\u202ecba\u2028next\ufeff", r"abc\u202ecba\u2028next\ufeff"),
        ("\ud800", r"\ud800"),
        ("", '""'),
        (None, "none"),
        (True, "true"),
        (1 << 70, str(1 << 70)),
        (float("nan"), "NaN"),
        ({"a": ["x\ny"]}, r'{"a": ["x\ny"]}'),
        ("x" * 2001, "x" * 2000 + "... (2,001 characters)"),
    ],
)
def test_value_takes_one_line(value: object, text: str) -> None:
    """No line is forged, no cursor moved, and every value has an end."""
    assert shown(value) == text
    assert shown(value).isprintable()


def test_cell_is_short() -> None:
    """A whole digest fits into a column, and nothing much longer."""
    digest = f"sha256:{'a' * 64}"
    assert cell(digest) == digest
    assert cell("x" * 1000).startswith("x" * 80 + "...")


def test_fields_are_aligned() -> None:
    """Values begin in one column, also those that take several lines."""
    found = fields([("a", "1"), ("longer", "word " * 40), ("", "below"), ("b", "")])
    assert found[0] == "  a       1"
    assert found[-2:] == ["          below", "  b"]
    assert {line[:10] for line in found[2:-1]} == {" " * 10}
    assert max(map(len, found)) <= 100


def test_what_has_no_space_stays_whole() -> None:
    """A path or digest can be copied from one line."""
    path = f"/v2/{'x' * 200}"
    assert fields([("path", path)]) == [f"  path  {path}"]
    assert paragraph(path) == [path]


def test_table_is_as_wide_as_it_must_be() -> None:
    """Text is flushed left and numbers right; no line ends in spaces."""
    assert table(("name", "size"), [("a", "1"), ("longer", "1,000")], {1}) == [
        "  name     size",
        "  a           1",
        "  longer  1,000",
    ]
    assert table(("a", "b"), [("x", "")]) == ["  a  b", "  x"]


def test_long_lists_have_an_end() -> None:
    """So many are shown, and it is said how many are not."""
    assert first(range(501)) == range(500)
    assert rest(range(501)) == ["  ... and 1 more"]
    assert rest(range(500)) == []


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
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1795454692, "2026-11-23T17:24:52Z"),
        (1795454692.9, "2026-11-23T17:24:52Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "-1"),
        (1 << 35, "34359738368"),
        (float("inf"), "Infinity"),
        ("now\n", r"now\n"),
        (None, "none"),
    ],
)
def test_moments(value: object, text: str) -> None:
    """RFC 3339 in UTC, and what is no date as it stands."""
    assert moment(value) == text


def test_counting() -> None:
    """One is not many."""
    assert [counted(n, "layer") for n in (0, 1, 1000)] == [
        *("0 layers", "1 layer", "1,000 layers")
    ]
