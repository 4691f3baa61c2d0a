"""Moments and times in text, and as they are read where anybody may have written them.

Moments are written as in RFC 3339, in UTC, as registries and clients write them.
"""

import math
from datetime import UTC, datetime

SECONDS_MAX = 1 << 35
"""After the epoch that is the year 3058: later than any time that is meant."""
_PERIODS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def format_timestamp(seconds: float) -> str:
    """Return the moment so many seconds after the epoch, to the second."""
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return moment.isoformat().replace("+00:00", "Z")


def describe_duration(seconds: int) -> str:
    """Return a time span in words, without what is nothing: "4 h", "1 d 2 h"."""
    parts = []
    for unit, length in _PERIODS:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts) or "0 s"


def read_seconds(value: object) -> float | None:
    """Return a number of seconds, or None for what is none, or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value < SECONDS_MAX and math.isfinite(value) else None
