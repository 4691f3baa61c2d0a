"""Grants: which token may have which blob, because the registry showed it so.

Rule C2 of the design: nobody gets a blob from the cache whom the registry would not
give it. Whom it served a manifest, at some location and with some token, it serves the
blobs that the manifest names, there and with that token, until the token is over.
Nothing else grants anything: that somebody else has a blob says nothing about this
token, and neither does that the blob is kept here.
"""

import hashlib
import time
from collections.abc import Callable, Iterable

from cachetools import LRUCache

from resolver.token.claims import read_expiry

GRANTS_MAX = 20_000
"""Of some 200 bytes; an image of ten layers takes eleven."""
SECONDS_MAX = 3600
"""How long one holds at most: the registry may change its mind."""
SECONDS_DEFAULT = 60
"""How long a token holds that does not say so (Docker token specification)."""


class Grants:
    """What the registry has shown to whom; belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._ends: LRUCache[bytes, float] = LRUCache(GRANTS_MAX)

    def add(self, authorization: str, repository: str, digests: Iterable[str]) -> None:
        """Take note of what a manifest names that the registry has just served.

        Args:
            authorization: the login that it was served to, as the registry got it.
            repository: where the manifest is, by its name at the registry.
            digests: what the manifest names.

        """
        now = self._clock()
        expiry = read_expiry(authorization.partition(" ")[2])
        end = now + SECONDS_DEFAULT if expiry is None else expiry
        end = min(end, now + SECONDS_MAX)
        if end <= now:
            return
        for digest in digests:
            self._ends[_key(authorization, repository, digest)] = end

    def has(self, authorization: str, repository: str, digest: str) -> bool:
        """Return whether the registry has shown the blob to this login, there."""
        end = self._ends.get(_key(authorization, repository, digest))
        return end is not None and self._clock() < end


def _key(*parts: str) -> bytes:
    """Return what stands for a grant; no token is kept for it."""
    return hashlib.blake2b(ascii(parts).encode(), digest_size=16).digest()
