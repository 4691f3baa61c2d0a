"""Decides how a number of bytes reads."""

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
