"""Decides how sizes, durations and moments read; what is none of them is left as it is.

Units are decimal, as docker has them.
"""

from mitm.story.size import describe_size
from mitm.view.line import counted, shown
from resolver.grammar.timestamp import format_timestamp

_MOMENT_MAX = 1 << 35
"""Seconds after the epoch, in a thousand years; of what is larger there is no date."""
_SIZE_MAX = 1 << 63
_PERIODS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def read_size(value: object) -> int | None:
    """Return a number of bytes, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < _SIZE_MAX else None


def exact_size(number: int) -> str:
    """Return a size in words, and to the byte."""
    size, exact = describe_size(number), counted(number, "byte")
    return exact if size.endswith(("byte", "bytes")) else f"{size} ({exact})"


def duration(seconds: int) -> str:
    """Return a time span in words: "4 h", "1 d 2 h"."""
    parts = []
    for unit, length in _PERIODS:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def read_moment(value: object) -> int | None:
    """Return the seconds of a NumericDate (RFC 7519), or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < _MOMENT_MAX else None


def moment(value: object) -> str:
    """Return a NumericDate as a date."""
    seconds = read_moment(value)
    return shown(value) if seconds is None else format_timestamp(seconds)
