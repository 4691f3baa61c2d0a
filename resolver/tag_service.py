"""Decides requests for what tags select, and asks the registry where it has to.

What is looked for may be at any of the locations of an alias. One is asked first: the
one where something was found last, or the target release's. So a token that is not
good, or a registry that is down, costs one request; then the others are asked side by
side, and the first one that has it ends the search.
"""

import asyncio
import contextvars
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Protocol

from cachetools import LRUCache

from resolver import attempt
from resolver.deadline import Deadline
from resolver.errors import RETRY_AFTER_DEFAULT, RateLimited, ServiceUnavailable
from resolver.forward import Forward, forward
from resolver.observer import NOBODY, Observer, Part, Reason
from resolver.reference import Location
from resolver.tag_list import TagPage
from resolver.tag_route import Search, route
from resolver.target import Base, Content, Kind
from resolver.transport import Answer
from resolver.whereabouts import Whereabouts, named_digests

ASKED_MAX = 6
"""Locations of one search that are asked at the same time."""
THREADS = 18
"""So many for all searches together."""
RECENT_MAX = 1000
"""Applications of which it is known where something was found last."""
MANIFEST_TYPES = ", ".join(
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.artifact.manifest.v1+json",
        "*/*",
    ]
)
"""A registry denies that there is a manifest of a type that is not asked for."""
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class Asker(Protocol):
    """What the registry is reached through: `resolver.transport.Transport`."""

    def head(
        self, url: str, *, authorization: str, accept: str, deadline: Deadline
    ) -> Answer:
        """Return the answer to a HEAD request."""


class TokenRefused(Exception):
    """The registry does not take the token, wherever it is asked."""


class TagService:
    """Decides requests while tags select; belongs to one event loop."""

    def __init__(
        self,
        registry_url: str,
        asker: Asker,
        *,
        timeout: float,
        observer: Observer = NOBODY,
    ) -> None:
        self._registry_url = registry_url
        self._asker = asker
        self._timeout = timeout
        self._observer = observer
        self._whereabouts = Whereabouts()
        self._recent: LRUCache[str, Location] = LRUCache(RECENT_MAX)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="registry-search")

    async def decide(
        self, target: Base | Content, authorization: str | None
    ) -> Forward | TagPage:
        """Return the request that goes upstream, or the tags that were asked for.

        Raises:
            RegistryError: as `tag_route.route` and `forward.forward`.
            RateLimited: the registry limits the rate.
            ServiceUnavailable: it does not answer, or fails.

        """
        decided = route(target, authorization)
        if decided is None:
            return forward(target, authorization, with_tables=True)
        if not isinstance(decided, Search):
            return decided
        # Where nobody has it, the registry's own words are those of the first one.
        return decided.at(await self._find(decided) or decided.locations[0])

    def note(
        self, decided: Forward, status: int, digest: str | None, body: bytes
    ) -> None:
        """Take note of what a manifest that the registry sent says is beside it."""
        if decided.alias is None or decided.location is None:
            return
        if found := named_digests(status, digest, body):
            self._whereabouts.note(decided.location, found)
            self._recent[decided.alias.slug] = decided.location

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _find(self, search: Search) -> Location | None:
        """Return a location that has it, or None where none has."""
        if known := self._whereabouts.find(search.sought, search.locations):
            return known
        attempt.purpose.set(str(search.alias))
        deadline = Deadline.after(self._timeout)
        try:
            async with asyncio.timeout(self._timeout):
                found = await self._ask(search, deadline)
        except TokenRefused:
            return None
        except RateLimited:
            self._observer.failed(Part.REGISTRY, Reason.LIMITED)
            raise
        except ServiceUnavailable as error:
            self._observer.failed(Part.REGISTRY, error.reason or Reason.SENSELESS)
            raise
        except TimeoutError as error:
            self._observer.failed(Part.REGISTRY, Reason.TIMEOUT)
            raise ServiceUnavailable.because(
                Reason.TIMEOUT,
                "the registry did not say in time where this is; try again later",
            ) from error
        if found:
            self._whereabouts.note(found, [search.sought])
            self._recent[search.alias.slug] = found
        return found

    async def _ask(self, search: Search, deadline: Deadline) -> Location | None:
        """Ask the registry for one location after another, several at a time."""
        first = self._recent.get(search.alias.slug)
        if first not in search.locations:
            first = search.locations[0]
        if await self._has(search, first, deadline):
            return first
        places = iter([place for place in search.locations if place != first])
        asked = [
            asyncio.create_task(self._ask_each(search, places, deadline))
            for _ in range(ASKED_MAX)
        ]
        failure: Exception | None = None
        try:
            for done in asyncio.as_completed(asked):
                try:
                    if found := await done:
                        return found
                except (RateLimited, ServiceUnavailable) as error:
                    failure = error
        finally:
            for task in asked:
                task.cancel()
            # Whatever became of the others; none is waited for.
            await asyncio.gather(*asked, return_exceptions=True)
        if failure:
            # One that did not answer may be the one that has it.
            raise failure
        return None

    async def _ask_each(
        self, search: Search, places: Iterator[Location], deadline: Deadline
    ) -> Location | None:
        """Return the next of the places that has it."""
        for place in places:
            if await self._has(search, place, deadline):
                return place
        return None

    async def _has(self, search: Search, place: Location, deadline: Deadline) -> bool:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, context.run, self._head, search, place, deadline
        )

    def _head(self, search: Search, place: Location, deadline: Deadline) -> bool:
        answer = self._asker.head(
            f"{self._registry_url}/v2/{place}/{search.kind}/{search.sought}",
            authorization=f"Bearer {search.jwt}",
            accept=MANIFEST_TYPES if search.kind is Kind.MANIFEST else "*/*",
            deadline=deadline,
        )
        if answer.status in _REFUSED:
            raise TokenRefused
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise RateLimited.with_retry_after(
                "the registry limits the rate of requests; try again later",
                answer.retry_after or RETRY_AFTER_DEFAULT,
            )
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ServiceUnavailable.because(
                Reason.STATUS,
                f"the registry answers with status {answer.status}; try again later",
            )
        return answer.status < HTTPStatus.BAD_REQUEST
