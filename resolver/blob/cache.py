"""The cache of blobs: where one comes from, decided without waiting for a disk.

Rules C2 to C4 of the design. First it is decided whether somebody may have the blob, by
a grant or by the registry's own answer, and whether it is here makes no difference to
that. Then it comes from the folder, from a fetch that is under way, or from one that
begins with it. What does not fit into this goes upstream, as if there were no cache.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from cachetools import TTLCache

from resolver.blob.count import FETCHES
from resolver.blob.fetch import Fetch
from resolver.blob.folder import Blob, Folder, is_known
from resolver.blob.grant import Grants, fingerprint
from resolver.blob.request import Found, Request, Window, Wish
from resolver.blob.server import BlobServer, Body
from resolver.errors import RegistryError, ServiceUnavailable
from resolver.grammar.reference import Digest
from resolver.storage.redirect import Permission, Redirects, Route
from resolver.storage.url import Url
from resolver.symptom import Role
from resolver.upstream.deadline import Deadline
from resolver.upstream.flight import Flights
from resolver.upstream.observer import CacheState
from resolver.upstream.pause import current_try
from resolver.upstream.threads import Threads, start_thread
from resolver.upstream.transport import Opened, Transport

logger = logging.getLogger(__name__)

FETCHES_SHARE = 24
"""So many of them for one client's address; what it asks for beyond goes upstream."""
AHEAD_LENGTH = 8 << 20
"""Bytes that a client waits for before the first one that it asked for; who begins
further on has it sooner from upstream."""
DISK_THREADS = 64
CHECKS_SHARE = 24
"""So many of as many checks for one client's address: each reads a whole blob, and
whoever wants one that needs none waits for none."""
DISK_SECONDS = 5
"""How long a client waits for the disk, and until a blob is checked that is here."""
SENT_SECONDS = 600
"""How long it is known that a client was sent a blob. Who asks again may have found
that it is not what it should be."""
TRUSTED_SECONDS = 60
"""How long nobody who does so makes the proxy check it once more."""
SENT_MAX = 4096
UNFIT_SECONDS = 60
"""How long a blob goes past the cache that could not be kept."""
UNFIT_MAX = 1000


class BlobCache:
    """The cache; belongs to one event loop."""

    def __init__(
        self,
        folder: Folder,
        redirects: Redirects,
        transport: Transport,
        *,
        grants: Grants,
        registry_url: str,
        seconds: float,
    ) -> None:
        """Keep blobs in the folder.

        Args:
            folder: it and its bounds.
            redirects: knows where the registry has its blobs.
            transport: fetches them; each piece has its own time there.
            grants: who may have what.
            registry_url: of the one registry.
            seconds: how long registry or storage may take for an answer.

        """
        self.folder = folder
        self._redirects = redirects
        self._transport = transport
        self._grants = grants
        self._registry = Url.of(registry_url)
        self._seconds = seconds
        self._server = BlobServer()
        self._disk = Threads(DISK_THREADS, "blob-disk")
        self._checkers = Threads(DISK_THREADS, "blob-check", share=CHECKS_SHARE)
        self._checks: Flights[Digest, Blob | None] = Flights()
        self._fetches: dict[Digest, Fetch] = {}
        self._threads = Threads(FETCHES, "blob-fetch", share=FETCHES_SHARE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent: TTLCache[bytes, None] = TTLCache(SENT_MAX, SENT_SECONDS)
        self._unfit: TTLCache[Digest, None] = TTLCache(UNFIT_MAX, UNFIT_SECONDS)
        # How much there is, and that it is not too much.
        start_thread("blob-disk", partial(folder.prune, folder.kept.size_max))

    @property
    def address(self) -> tuple[str, int]:
        """Where this process gets blobs of the cache."""
        return self._server.address

    async def find(
        self, request: Request, ask: Callable[[], Awaitable[Permission]]
    ) -> Found | None:
        """Return where a blob comes from; None where it goes past the cache.

        Args:
            request: what somebody wants.
            ask: asks the registry for permission.

        Raises:
            RedirectRefused: the blob is where the proxy does not go.
            ServiceUnavailable: registry or storage do not answer in time.

        """
        wish, digest = request.wish, request.wish.digest
        if not is_known(digest) or not wish.is_usual:
            return None
        permission = None
        if not self._grants.has(request.authorization, request.repository, digest):
            permission = await ask()
            if not permission.is_granted:
                # The registry says why, in its own words, or whom it sends to.
                return Found(permission.route)
        past = Found(permission.route) if permission else None
        fetch, state = self._fetches.get(digest), CacheState.SHARED
        try:
            async with asyncio.timeout(min(DISK_SECONDS, self._seconds / 2)):
                blob = await self._kept(request)
                if blob is None and fetch and digest not in self._fetches:
                    blob = await self._kept(request)  # It has come in the meantime.
        except (TimeoutError, ServiceUnavailable):
            # The disk hangs, or a check takes long, which goes on for those to come.
            return past
        if blob:
            return self._serve(wish, blob, blob.size, CacheState.HIT)
        fetch = self._fetches.get(digest)
        if fetch is None and self._may_begin(request):
            fetch, state = self._begin(request, permission), CacheState.MISS
        if fetch and await _has_head(fetch) and _is_near(fetch, wish):
            fetch.enter()
            found = self._serve(wish, fetch, fetch.size, state)
            return replace(found, fetch=fetch)
        return past

    def close(self) -> None:
        """Let go of threads and connections."""
        self._server.close()
        self._disk.close()
        self._checkers.close()
        self._threads.close()
        self._transport.close()

    async def _kept(self, request: Request) -> Blob | None:
        """Return the blob, if it is in the folder and what it should be."""
        digest = request.wish.digest
        blob = await self._disk.run(self.folder.open, digest)
        if blob is None:
            return None
        is_doubted = self._is_doubted(request) and blob.age > TRUSTED_SECONDS
        if blob.is_checked and not is_doubted:
            return blob
        opened = blob

        async def check() -> Blob | None:
            is_right = await self._checkers.run(
                self.folder.check, digest, opened, parties=request.parties
            )
            return opened if is_right else None

        # Who joins has the file that was checked: under the digest is perhaps another.
        return await self._checks.join(digest, check)

    def _is_doubted(self, request: Request) -> bool:
        """Return whether a client was sent all of the blob a moment ago."""
        wish = request.wish
        if wish.method != "GET" or "range" in wish.headers or wish.has_it:
            return False
        key = fingerprint(request.authorization, wish.digest)
        is_doubted = key in self._sent
        self._sent[key] = None
        return is_doubted

    def _may_begin(self, request: Request) -> bool:
        return (
            request.wish.begins_pull
            and request.wish.digest not in self._unfit
            and len(self._fetches) < FETCHES
            and self._threads.is_free(request.parties)
        )

    def _begin(self, request: Request, permission: Permission | None) -> Fetch:
        """Begin a fetch, by the login of who asks first."""
        digest = request.wish.digest
        source = _Source(
            self._redirects,
            self._transport,
            self._registry.at(request.path),
            request.authorization,
            self._seconds,
            permission,
        )
        fetch = self._fetches[digest] = Fetch(
            digest, self.folder, source.open, blame=source.blame
        )

        async def run() -> None:
            try:
                await self._threads.run(fetch.run, parties=request.parties)
            except ServiceUnavailable as error:
                fetch.abandon(error)
            finally:
                del self._fetches[digest]
                if fetch.is_unfit:
                    self._unfit[digest] = None

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return fetch

    def _serve(self, wish: Wish, body: Body, size: int, state: CacheState) -> Found:
        url = self._server.issue(Window.of(wish, size), body)
        route = Route(url, (url.host,), is_registry=False, is_cache=True)
        return Found(route, state)


async def _has_head(fetch: Fetch) -> bool:
    """Return whether a fetch can be read from, once that is known."""
    return await asyncio.shield(asyncio.wrap_future(fetch.head))


def _is_near(fetch: Fetch, wish: Wish) -> bool:
    """Return whether the first byte that somebody wants comes soon."""
    return Window.of(wish, fetch.size).begin <= fetch.received + AHEAD_LENGTH


class _Source:
    """Opens a blob where it is, which may be another place each time."""

    def __init__(
        self,
        redirects: Redirects,
        transport: Transport,
        url: Url,
        authorization: str,
        seconds: float,
        permission: Permission | None,
    ) -> None:
        self._redirects = redirects
        self._transport = transport
        self._url = url
        self._authorization = authorization
        self._seconds = seconds
        self._permission = permission
        self._place, self._role = url.netloc, Role.REGISTRY

    def blame(self, error: RegistryError) -> None:
        """Say of an error that whoever sends the blob is at fault."""
        error.blame(self._place, self._role)

    @contextmanager
    def open(self, begin: int) -> Iterator[Opened]:
        """Open it from a byte on.

        Raises:
            RedirectRefused: it is where the proxy does not go.
            ServiceUnavailable: registry or storage do not answer.

        """
        deadline = Deadline.after(self._seconds)
        current_try.set(0)  # Whatever is tried again is tried again here.
        # What the registry has just said counts once: a signed URL may be over soon.
        permission, self._permission = self._permission, None
        route = (
            permission.route
            if permission
            else self._redirects.find(
                "GET", self._url.path, self._authorization, deadline
            )
        )
        url = route.destination if route else self._url
        is_registry = route is None or route.is_registry
        self._place = url.netloc
        self._role = Role.REGISTRY if is_registry else Role.STORAGE
        with self._transport.open(
            url.text,
            authorization=self._authorization if is_registry else None,
            begin=begin,
            deadline=deadline,
        ) as opened:
            yield opened
