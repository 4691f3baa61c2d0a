"""Limits of rate that a server named to a login, remembered until they are over.

A client that asks for a hundred names would otherwise ask a hundred times, and each
time make the limit last longer. Other logins are not touched by it, and what nobody
logged in for is not remembered.
"""

import math
import threading
import time
from collections.abc import Callable

from cachetools import TLRUCache

from resolver.grammar.credential import fingerprint

LOGINS_MAX = 1000
SECONDS_MAX = 60
"""A limit of hours is asked about once a minute: it may have been named by mistake."""
EARLY_SECONDS = 0.1
"""So much sooner it counts as over, for whoever waited until then."""


class Limits:
    """Who is limited for how long yet. For many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: TLRUCache[tuple[str, bytes], float] = TLRUCache(
            LOGINS_MAX, lambda _, end, now: min(end, now + SECONDS_MAX), clock
        )

    def note(self, origin: str, authorization: str | None, seconds: int | None) -> None:
        """Take note that the server wants so much time to pass."""
        if authorization is not None and seconds:
            end = self._clock() + seconds - EARLY_SECONDS
            with self._lock:
                self._ends[origin, fingerprint(authorization)] = end

    def seconds(self, origin: str, authorization: str | None) -> int | None:
        """Return the seconds that are left, or None where there is no limit."""
        if authorization is None:
            return None
        with self._lock:
            end = self._ends.get((origin, fingerprint(authorization)))
        return None if end is None else math.ceil(end - self._clock())
