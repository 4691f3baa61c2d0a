"""Lines for a pane of some 100 columns, of what others wrote.

It comes from clients, the registry and the API, so it is not trusted: a value takes
one line unless it is wrapped here, moves no cursor, and has an end.
"""

import json
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 76
"""Columns at which text is wrapped; what has no space in it stays whole."""
TEXT_LENGTH_MAX = 2000
CELL_LENGTH_MAX = 80
"""Characters in a column; a digest has 71."""
NAME_LENGTH_MAX = 48
ROWS_MAX = 500
INDENT = "  "


def shown(value: object, length: int = TEXT_LENGTH_MAX) -> str:
    """Return a value of a JSON document as text of one line."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > length:
        return f"{_escaped(text[:length])}... ({len(text):,} characters)"
    return _escaped(text) or '""'


def cell(value: object) -> str:
    """Return a value of a JSON document as it stands in a column."""
    return shown(value, CELL_LENGTH_MAX)


def paragraph(text: str, indent: str = "") -> list[str]:
    """Return a text of our own, or one that is `shown`, in lines."""
    return _wrapped(text, indent, indent)


def fields(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return names and values below each other; long values are wrapped.

    A value without a name belongs to the one above it.
    """
    named = [(name and shown(name, NAME_LENGTH_MAX), value) for name, value in pairs]
    width = max((len(name) for name, _ in named), default=0)
    margin = INDENT + " " * width + INDENT
    lines: list[str] = []
    for name, value in named:
        lines += _wrapped(value, f"{INDENT}{name:<{width}}{INDENT}", margin)
    return lines


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()
) -> list[str]:
    """Return rows in columns as wide as they need; those in `right` are numbers."""
    filled = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    flushed = set(right)

    def line(row: Sequence[str]) -> str:
        cells = (
            text.rjust(width) if number in flushed else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        return (INDENT + INDENT.join(cells)).rstrip()

    return [line(row) for row in filled]


def first[T](items: Sequence[T]) -> Sequence[T]:
    """Return as many as are shown."""
    return items[:ROWS_MAX]


def rest(items: Sequence[object]) -> list[str]:
    """Say how many are not shown, if any."""
    more = len(items) - ROWS_MAX
    return [f"{INDENT}... and {more:,} more"] if more > 0 else []


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Return lines under a title, or nothing where there are none."""
    return ["", title, *lines] if lines else []


def counted(number: int, noun: str) -> str:
    """Return so many of something."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _wrapped(text: str, begin: str, margin: str) -> list[str]:
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [begin.rstrip()]


def _escaped(text: str) -> str:
    """Return the text with all that does not print escaped, as Python would.

    That is more than mitmproxy escapes: a line feed would forge a line, and marks that
    turn the direction of writing would forge a word.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
