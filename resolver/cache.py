"""Decides which outcomes are remembered, for whom, and for how long (design section 8).

Remembered is what an alias stands for, per credential. Permission is not: the token
endpoint decides on it each time.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cachetools import TLRUCache

from resolver.credential import Credential
from resolver.errors import RateLimited, Refusal, ServiceUnavailable
from resolver.reference import Alias
from resolver.resolution import Resolution

logger = logging.getLogger(__name__)

ENTRIES_MAX = 10_000
"""One takes about a kilobyte."""
REFUSAL_SECONDS = 10
"""How long a refusal is remembered, so that a new release can soon be pulled."""
STALE_SECONDS = 3600
"""How long after its time an entry still serves while the API fails."""


@dataclass(frozen=True, slots=True)
class _Key:
    fingerprint: bytes
    alias: Alias


@dataclass(frozen=True, slots=True)
class _Entry:
    outcome: Resolution | Refusal
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
        self._salt = os.urandom(16)
        self._entries: TLRUCache[_Key, _Entry] = TLRUCache(
            entries_max, lambda _key, entry, _now: entry.kept_until, clock
        )
        self._loading: dict[_Key, asyncio.Task[Resolution]] = {}

    async def resolve(
        self,
        alias: Alias,
        credential: Credential,
        load: Callable[[], Awaitable[Resolution]],
    ) -> Resolution:
        """Return what is remembered, or what `load` returns.

        Raises:
            Refusal: remembered, or raised by `load`.
            RateLimited: raised by `load`, and nothing is remembered.
            ServiceUnavailable: likewise.

        """
        key = _Key(self._fingerprint(credential), alias)
        entry = self._entries.get(key)
        if entry and self._clock() < entry.fresh_until:
            if isinstance(entry.outcome, Refusal):
                # The same object is raised again and again, and must not grow by that.
                raise entry.outcome.with_traceback(None)
            return entry.outcome
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load(key, entry, load))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._finish(key, done))
        # One client that goes away does not take the answer from the others.
        return await asyncio.shield(task)

    async def _load(
        self,
        key: _Key,
        entry: _Entry | None,
        load: Callable[[], Awaitable[Resolution]],
    ) -> Resolution:
        try:
            resolution = await load()
        except Refusal as refusal:
            self._keep(key, refusal, min(REFUSAL_SECONDS, self._ttl), stale=0)
            raise
        except (RateLimited, ServiceUnavailable) as error:
            if entry is None or isinstance(entry.outcome, Refusal):
                raise
            logger.warning(
                "%s is taken from the cache beyond its time: %s", key.alias, error
            )
            return entry.outcome
        self._keep(key, resolution, self._ttl, stale=STALE_SECONDS)
        return resolution

    def _keep(
        self, key: _Key, outcome: Resolution | Refusal, ttl: float, *, stale: float
    ) -> None:
        if ttl:
            fresh_until = self._clock() + ttl
            self._entries[key] = _Entry(outcome, fresh_until, fresh_until + stale)

    def _finish(self, key: _Key, task: asyncio.Task[Resolution]) -> None:
        del self._loading[key]
        if not task.cancelled():
            task.exception()  # Somebody may wait for it, or nobody any more.

    def _fingerprint(self, credential: Credential) -> bytes:
        """Return what tells credentials apart, and from which no key can be found."""
        key = "" if credential.key is None else f"key {credential.key}"
        return hashlib.blake2b(key.encode(), key=self._salt, digest_size=16).digest()
