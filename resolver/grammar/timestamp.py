"""Moments in text: RFC 3339, in UTC, as registries and clients write them."""

from datetime import UTC, datetime


def format_timestamp(seconds: float) -> str:
    """Return the moment so many seconds after the epoch, to the second."""
    moment = datetime.fromtimestamp(int(seconds), UTC)
    return moment.isoformat().replace("+00:00", "Z")
