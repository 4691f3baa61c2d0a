"""Sizes in words, and as they are read where anybody may have written them.

Units are decimal, as docker has them. Times are in `resolver.grammar.timestamp`.
"""

SIZE_MAX = 1 << 63
_UNITS = ("kB", "MB", "GB", "TB")
_KILO = 1000


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


def read_size(value: object) -> int | None:
    """Return a number of bytes or of things, or None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < SIZE_MAX else None
