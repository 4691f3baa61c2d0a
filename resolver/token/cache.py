"""The cache of what aliases stand for, per credential (design section 8).

Permission is never cached: the token endpoint decides on it each time.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from cachetools import TLRUCache

from resolver.errors import RateLimited, Refusal, ServiceUnavailable
from resolver.grammar.credential import Credential
from resolver.grammar.reference import Alias, Location, Slug
from resolver.release.resolution import Resolution, candidates_of
from resolver.upstream.flight import Flights
from resolver.upstream.observer import CacheState

logger = logging.getLogger(__name__)

ENTRIES_MAX = 10_000
"""One takes about a kilobyte; those of which tags select count for several."""
CANDIDATES_PART = 4
"""So many candidates count as one entry: 25 of them take 22 kB."""
REFUSAL_SECONDS = 10
"""How long a refusal is remembered, so that a new release can soon be pulled."""
GONE_SECONDS = 10
"""How old an entry is at least that is forgotten because its image is gone: where the
API still names that image, it is not asked with each pull."""
STALE_SECONDS = 3600
"""How long after its time an entry still serves while the API fails."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What an alias came to, and where that is known from."""

    outcome: Resolution | Refusal
    state: CacheState


@dataclass(frozen=True, slots=True)
class Entry:
    """What is remembered, for somebody who wants to see it."""

    alias: Alias
    asker: str
    """Which credential it is for: one from another can be told by it, and no more."""
    outcome: Resolution | Refusal
    seconds: float
    """For how long it still serves; less than 0 where only if the API fails."""


@dataclass(frozen=True, slots=True)
class _Key:
    fingerprint: bytes | None
    alias: Alias


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: Resolution | Refusal
    since: float
    fresh_until: float
    kept_until: float


class ResolutionCache:
    """Remembers outcomes, and lets concurrent requests for the same one wait for it.

    Belongs to one API and one event loop.
    """

    def __init__(
        self,
        ttl: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self._ttl = ttl
        self._clock = clock
        self._entries: TLRUCache[_Key, _Entry] = TLRUCache(
            entries_max,
            lambda _key, entry, _now: entry.kept_until,
            clock,
            getsizeof=lambda entry: _weight(entry.outcome),
        )
        self._loading: Flights[tuple[_Key, Hashable], Lookup] = Flights()

    async def resolve(
        self,
        alias: Alias,
        credential: Credential,
        load: Callable[[], Awaitable[Resolution]],
        queue: Hashable = None,
    ) -> Lookup:
        """Return what is remembered, or what `load` returns or refuses.

        Args:
            alias: what is resolved.
            credential: for whom.
            load: asks the API.
            queue: what `load` has to wait in, if anything; nobody else waits with it.

        Raises:
            RateLimited: raised by `load`, and nothing is remembered.
            ServiceUnavailable: likewise.

        """
        key = _Key(credential.fingerprint, alias)
        entry = self._entries.get(key)
        if entry and self._clock() < entry.fresh_until:
            return Lookup(entry.outcome, CacheState.HIT)
        flight = key, queue
        is_shared = flight in self._loading
        lookup = await self._loading.join(flight, lambda: self._load(key, entry, load))
        return Lookup(lookup.outcome, CacheState.SHARED) if is_shared else lookup

    def entries(self) -> list[Entry]:
        """Return what is remembered, by alias."""
        self._entries.expire()
        now = self._clock()
        return sorted(
            (
                Entry(
                    key.alias,
                    self._asker(key),
                    entry.outcome,
                    entry.fresh_until - now,
                )
                for key, entry in self._entries.items()
            ),
            key=lambda entry: (str(entry.alias), entry.asker),
        )

    def forget(self, begin: str = "") -> int:
        """Forget what is remembered of aliases that begin so; return how many."""
        keys = [key for key in self._entries if str(key.alias).startswith(begin)]
        for key in keys:
            self._entries.pop(key, None)
        return len(keys)

    def forget_image(self, slug: Slug, location: Location) -> None:
        """Forget what leads to an image that is gone, whoever found it.

        Nothing else of the application is forgotten, whatever a client makes up.
        """
        keys = [key for key in self._entries if key.alias.slug == slug]
        for key in keys:
            entry = self._entries.get(key)
            if entry is None or self._clock() < entry.since + GONE_SECONDS:
                continue
            if location in candidates_of(entry.outcome).locations:
                self._entries.pop(key, None)
                logger.debug(
                    "the image of %s is gone from the registry: it is looked up anew",
                    key.alias,
                )

    def _asker(self, key: _Key) -> str:
        if key.fingerprint is None:
            return "anybody"
        return f"key {key.fingerprint.hex()[:6]}"

    async def _load(
        self,
        key: _Key,
        entry: _Entry | None,
        load: Callable[[], Awaitable[Resolution]],
    ) -> Lookup:
        try:
            resolution = await load()
        except Refusal as refusal:
            # Kept for a while, and whoever met it need not be kept with it.
            refusal.with_traceback(None)
            self._keep(key, refusal, min(REFUSAL_SECONDS, self._ttl), stale=0)
            return Lookup(refusal, CacheState.MISS)
        except (RateLimited, ServiceUnavailable) as error:
            if entry is None or isinstance(entry.outcome, Refusal):
                raise
            logger.warning(
                "%s is taken from the cache beyond its time: %s",
                key.alias,
                error.in_log,
            )
            return Lookup(entry.outcome, CacheState.STALE)
        self._keep(key, resolution, self._ttl, stale=STALE_SECONDS)
        return Lookup(resolution, CacheState.MISS)

    def _keep(
        self, key: _Key, outcome: Resolution | Refusal, ttl: float, *, stale: float
    ) -> None:
        if ttl:
            now = self._clock()
            until = now + ttl
            self._entries[key] = _Entry(outcome, now, until, until + stale)


def _weight(outcome: Resolution | Refusal) -> int:
    """Return for how many entries the outcome counts."""
    return 1 + len(candidates_of(outcome)) // CANDIDATES_PART
