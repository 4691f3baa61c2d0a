"""The clocks of others: how far each is ahead of this machine's, by its ``Date``."""

import threading
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from cachetools import LRUCache

from resolver.grammar.timestamp import read_seconds
from resolver.upstream.observer import Call, Event

HOSTS_MAX = 64
"""Of so many hosts it is remembered."""


class Clocks:
    """Remembers of each host what its clock said last; an `Observer`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead: LRUCache[str, float] = LRUCache(HOSTS_MAX)

    def note(self, event: Event) -> None:
        """Read the clock in an answer, if there is one in it."""
        if not isinstance(event, Call):
            return
        headers = {name.lower(): value for name, value in event.headers}
        if (ahead := read_ahead(headers, event.end)) is not None:
            with self._lock:
                self._ahead[urlsplit(event.url).netloc] = ahead

    def ahead(self, url: str) -> float | None:
        """Return how many seconds the clock there is ahead; None where nobody knows."""
        with self._lock:
            return self._ahead.get(urlsplit(url).netloc)


def read_ahead(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds ahead of `now` the clock is that an answer was made by.

    A time that no clock has says nothing.

    Args:
        headers: of the answer, by their names in lower case.
        now: when it came, in seconds since the epoch.

    """
    if headers.get("age", "0") != "0":
        return None  # It was made a while ago, and kept somewhere since then.
    try:
        moment = parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return None if read_seconds(moment) is None else moment - now
