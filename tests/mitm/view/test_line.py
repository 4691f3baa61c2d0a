"""What others wrote stays within its line, and its column."""

import pytest

from mitm.view.line import cell, counted, fields, first, paragraph, rest, shown, table


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


def test_counting() -> None:
    """One is not many."""
    assert [counted(n, "layer") for n in (0, 1, 1000)] == [
        *("0 layers", "1 layer", "1,000 layers")
    ]
