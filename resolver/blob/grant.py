"""Grants: which token may have which blob, because the registry showed it so.

Rule C2 of the design: nobody gets a blob from the cache whom the registry would not
give it. Whom it served a manifest, at some location and with some token, it serves the
blobs that the manifest names, there and with that token, until the token is over; and
whom it served without a login, it serves like everybody without one.
Nothing else grants anything: that somebody else has a blob says nothing about this
token, and neither does that the blob is kept here.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cachetools import LRUCache

from resolver.token.claims import read_expiry

GRANTS_MAX = 20_000
"""Of some 200 bytes; an image of ten layers takes eleven."""
SHARE_MAX = 4000
"""So many for one token at one location."""
SECONDS_MAX = 3600
"""How long one holds at most: the registry may change its mind."""
SECONDS_DEFAULT = 60
"""How long a token holds that does not say so (Docker token specification)."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What was shown to a token at a location."""

    end: float
    """Until when that holds, in seconds since the epoch."""
    digests: frozenset[str]


class Grants:
    """What the registry has shown to whom; belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._shown: LRUCache[bytes, _Shown] = LRUCache(
            GRANTS_MAX, getsizeof=lambda shown: 1 + len(shown.digests)
        )

    def add(
        self, authorization: str | None, repository: str, digests: Iterable[str]
    ) -> None:
        """Take note of what a manifest names that the registry has just served.

        Args:
            authorization: the login that it was served to, as the registry got it. None
                where there was none: that is a grant to whoever has none.
            repository: where the manifest is, by its name at the registry.
            digests: what the manifest names.

        """
        key, now = fingerprint(authorization, repository), self._clock()
        named, shown = frozenset(digests), self._shown.get(key)
        if shown is None or shown.end <= now:
            shown = _Shown(_end(authorization, now), frozenset())
        if shown.end <= now or named <= shown.digests:
            return
        known = shown.digests | named
        if len(known) > SHARE_MAX:
            known = named
        self._shown[key] = _Shown(shown.end, known)

    def has(self, authorization: str | None, repository: str, digest: str) -> bool:
        """Return whether the registry has shown the blob to this login, there."""
        shown = self._shown.get(fingerprint(authorization, repository))
        return (
            shown is not None and digest in shown.digests and self._clock() < shown.end
        )


def _end(authorization: str | None, now: float) -> float:
    """Return until when a grant holds that is made now."""
    expiry = read_expiry((authorization or "").partition(" ")[2])
    end = now + SECONDS_DEFAULT if expiry is None else expiry
    return min(end, now + SECONDS_MAX)


def fingerprint(*parts: str | None) -> bytes:
    """Return what stands for a token, and for what it is used; no token is kept."""
    return hashlib.blake2b(ascii(parts).encode(), digest_size=16).digest()
