"""Decides how figures stand below each other."""

from collections.abc import Sequence

GAP = "  "

type Row = tuple[str, ...]


def format_table(heading: Row, rows: Sequence[Row]) -> str:
    """Return the rows with the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    return "\n".join(
        GAP.join(
            text.rjust(width) if number else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heading, *rows)
    )
