"""Sizes and times in words, and as they are read where anybody may have written them.

Units are decimal, as docker has them.
"""

import math

SIZE_MAX = 1 << 63
SECONDS_MAX = 1 << 35
"""After the epoch that is the year 3058: later than any time that is meant."""
_UNITS = ("kB", "MB", "GB", "TB")
_KILO = 1000
_PERIODS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def describe_size(count: int) -> str:
    """Return the number of bytes in the unit that fits: 527 bytes, 12.3 MB."""
    if count < _KILO:
        return "1 byte" if count == 1 else f"{count} bytes"
    size = float(count)
    for unit in _UNITS:
        size /= _KILO
        # 999.95 would be rounded to 1000.0.
        if size < _KILO - 0.05 or unit == _UNITS[-1]:
            break
    return f"{size:.1f} {unit}"


def exact_size(count: int) -> str:
    """Return a size in words, and to the byte: 12.3 MB (12,345,678 bytes)."""
    size = describe_size(count)
    return size if count < _KILO else f"{size} ({count:,} bytes)"


def describe_duration(seconds: int) -> str:
    """Return a time span in words, without what is nothing: "4 h", "1 d 2 h"."""
    parts = []
    for unit, length in _PERIODS:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def read_size(value: object) -> int | None:
    """Return a number of bytes or of things, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < SIZE_MAX else None


def read_seconds(value: object) -> float | None:
    """Return a number of seconds, or None for what is none, or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < SECONDS_MAX and math.isfinite(value) else None
