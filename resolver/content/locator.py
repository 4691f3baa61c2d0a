"""The location of what is asked for by digest, where an alias stands for several.

The index of digests knows it of what passed; else the registry is asked. One location
is asked first: the one where something was found last, or the target release's. So a
token that is not good, or a registry that is down, costs one request; then the others
are asked side by side, and the first one that has it ends the search. That none has it
is remembered for a short while, and all who ask for the same with the same token wait
for one search.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Protocol

from cachetools import LRUCache, TTLCache

from resolver.content.forward import Forward, Search, forward, not_issued_for, scope_of
from resolver.content.index import Index, Place, read_digests
from resolver.content.tag_list import TagPage
from resolver.errors import (
    RETRY_AFTER_DEFAULT,
    RateLimited,
    Reason,
    ServiceUnavailable,
)
from resolver.grammar.endpoint import Base, Content, ContentKind
from resolver.grammar.reference import Location, parse_digest
from resolver.release.candidate import tag_alias
from resolver.symptom import Role
from resolver.upstream.deadline import Deadline
from resolver.upstream.flight import Flights
from resolver.upstream.observer import NOBODY, Failure, Observer, Part, purpose
from resolver.upstream.share import Party, address_party
from resolver.upstream.threads import Threads, time_limit
from resolver.upstream.transport import Answer

ASKED_MAX = 6
"""Locations of one search that are asked at the same time."""
THREADS = 96
"""So many for all searches together."""
SHARE = 24
"""So many of them for the searches of one client's address."""
RECENT_MAX = 1000
"""Applications of which it is known where something was found last."""
ABSENT_SECONDS = 10
"""How long it is remembered that no location has something."""
ABSENT_MAX = 4096
"""So many of those are remembered, in a megabyte."""
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


class Registry(Protocol):
    """What the registry is reached through: `resolver.upstream.transport.Transport`."""

    def head(
        self, url: str, *, authorization: str, accept: str, deadline: Deadline
    ) -> Answer:
        """Return the answer to a HEAD request."""


class TokenRefused(Exception):
    """The registry does not take the token, wherever it is asked."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for something under /v2/."""

    authorization: str | None = field(repr=False)
    address: str = ""
    takes_scopes: bool = True
    """Whether it gets another token where a challenge says so."""


class Locator:
    """Finds where requests under /v2/ go; belongs to one event loop."""

    def __init__(
        self,
        registry_url: str,
        registry: Registry,
        *,
        timeout: float,
        selects: bool,
        observer: Observer = NOBODY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Let the tags of aliases without selector select, or not (R9)."""
        self._registry_url = registry_url
        self._registry = registry
        self._timeout = timeout
        self._selects = selects
        self._observer = observer
        self._index = Index()
        self._recent: LRUCache[str, Location] = LRUCache(RECENT_MAX)
        self._absent: TTLCache[bytes, None] = TTLCache(
            ABSENT_MAX, ABSENT_SECONDS, clock
        )
        self._searches: Flights[bytes, Location | None] = Flights()
        self._threads = Threads(THREADS, "registry-search", share=SHARE)

    async def decide(self, endpoint: Base | Content, asker: Asker) -> Forward | TagPage:
        """Return the request that goes upstream, or the tags that were asked for.

        Raises:
            RegistryError: as `forward.forward`.
            ScopeInsufficient: what is asked for is that of a tag which the token lacks.
            RateLimited: the registry limits the rate.
            ServiceUnavailable: it does not answer, or fails.

        """
        request = forward(
            endpoint,
            asker.authorization,
            selects=self._selects,
            takes_scopes=asker.takes_scopes,
        )
        if isinstance(request, Search):
            # Where nobody has it, the registry's own words are those of the first one.
            location = await self._find(request, asker) or request.locations[0]
            return request.at(location)
        if isinstance(request, Forward) and request.location is None:
            return self._widen(request, endpoint, asker)
        return request

    def remember(
        self,
        request: Forward,
        status: int,
        digest: str | None,
        body: bytes,
        address: str,
    ) -> None:
        """Remember what a manifest that the registry sent says is beside it.

        Args:
            request: what went upstream for the manifest.
            status: of the answer.
            digest: what the answer's header says of the manifest.
            body: the manifest; nothing where only the head was asked for.
            address: of the client that pulled it.

        """
        alias, location = request.alias, request.location
        if not self._selects or alias is None or location is None or alias.selector:
            return
        if digests := read_digests(status, digest, body):
            name = tag_alias(alias, request.tag) if request.tag else None
            name = name or self._index.name(alias.slug, digests[0], address)
            self._index.add(alias.slug, digests, Place(location, name, address))
            self._recent[alias.slug] = location

    def _widen(
        self, request: Forward, endpoint: Base | Content, asker: Asker
    ) -> Forward:
        """Let the challenge for a digest name the tag that it was pulled by.

        Such a client asks for a manifest by tag, and then for its digest with a token
        of its own, as containerd does. Where it has the manifest it asks for a blob at
        once, which other releases may have too; that belongs to the last tag.
        Where tags do not select, the index is empty.
        """
        alias = request.alias
        if alias is None or alias.selector or not isinstance(endpoint, Content):
            return request
        digest = parse_digest(endpoint.reference or "")
        if digest is None:
            return request
        names = [self._index.name(alias.slug, digest, asker.address)]
        if endpoint.kind is ContentKind.BLOB:
            names.append(self._index.last_name(alias.slug, asker.address))
        aliases = dict.fromkeys(filter(None, names))
        return replace(request, scope=scope_of(alias, *aliases)) if aliases else request

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._threads.close()

    async def _find(self, search: Search, asker: Asker) -> Location | None:
        """Return a location that has it, or None where none has."""
        slug = search.alias.slug
        for place in self._index.places(slug, search.reference):
            if place.location in search.locations:
                return place.location
        name = self._index.name(slug, search.reference, asker.address)
        if name and str(name) in search.tag_names:
            self._index.forget_name(asker.address, name)
        elif name and asker.takes_scopes and not search.tag_names:
            raise not_issued_for(name)
        if len(search.locations) == 1:
            return None
        return await self._search(search, address_party(asker.address))

    async def _search(
        self, search: Search, parties: tuple[Party, ...]
    ) -> Location | None:
        """Return a location that has it, or None, as the registry says or just said.

        Raises:
            TagUnknown: it is a manifest that none of them has.

        """
        key = _key(search)
        if key not in self._absent:
            try:
                location = await self._searches.join(
                    key, lambda: self._ask_registry(search, parties, key)
                )
            except TokenRefused:
                return None
            if location:
                return location
        if search.is_manifest:
            raise search.error
        return None

    async def _ask_registry(
        self, search: Search, parties: tuple[Party, ...], key: bytes
    ) -> Location | None:
        """Return a location that has it, or None, as the registry says.

        Raises:
            TokenRefused: it does not take the token.

        """
        purpose.set(str(search.alias))
        deadline = Deadline.after(self._timeout)
        late = "the registry did not say in time where this is; try again later"
        try:
            async with time_limit(deadline, late):
                location = await self._ask(search, parties, deadline)
        except RateLimited as error:
            self._observer.note(Failure(Part.REGISTRY, Reason.LIMITED))
            error.blame(self._registry_url, Role.REGISTRY)
            raise
        except ServiceUnavailable as error:
            reason = error.reason or Reason.SENSELESS
            self._observer.note(Failure(Part.REGISTRY, reason))
            error.blame(self._registry_url, Role.REGISTRY)
            raise
        if location:
            slug = search.alias.slug
            self._index.add(slug, [search.reference], Place(location))
            self._recent[slug] = location
        else:
            self._absent[key] = None
        return location

    async def _ask(
        self, search: Search, parties: tuple[Party, ...], deadline: Deadline
    ) -> Location | None:
        """Ask the registry for one location after another, several at a time."""
        first = self._recent.get(search.alias.slug)
        if first not in search.locations:
            first = search.locations[0]
        if await self._has(search, first, parties, deadline):
            return first
        others = iter([place for place in search.locations if place != first])
        tasks = [
            asyncio.create_task(self._ask_each(search, others, parties, deadline))
            for _ in range(ASKED_MAX)
        ]
        failure: Exception | None = None
        try:
            for task in asyncio.as_completed(tasks):
                try:
                    if location := await task:
                        return location
                except (RateLimited, ServiceUnavailable) as error:
                    failure = error
        finally:
            for each in tasks:
                each.cancel()
            # Whatever became of the others; none is waited for.
            await asyncio.gather(*tasks, return_exceptions=True)
        if failure:
            # One that did not answer may be the one that has it.
            raise failure
        return None

    async def _ask_each(
        self,
        search: Search,
        locations: Iterator[Location],
        parties: tuple[Party, ...],
        deadline: Deadline,
    ) -> Location | None:
        """Return the next of the locations that has it."""
        for location in locations:
            if await self._has(search, location, parties, deadline):
                return location
        return None

    async def _has(
        self,
        search: Search,
        place: Location,
        parties: tuple[Party, ...],
        deadline: Deadline,
    ) -> bool:
        return await self._threads.run(
            self._head, search, place, deadline, parties=parties
        )

    def _head(self, search: Search, place: Location, deadline: Deadline) -> bool:
        answer = self._registry.head(
            f"{self._registry_url}/v2/{place}/{search.kind}/{search.reference}",
            authorization=f"Bearer {search.jwt}",
            accept=MANIFEST_TYPES if search.kind is ContentKind.MANIFEST else "*/*",
            deadline=deadline,
        )
        if answer.status in _REFUSED:
            raise TokenRefused
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            limited = RateLimited.with_retry_after(
                "the registry limits the rate of requests; try again later",
                answer.retry_after or RETRY_AFTER_DEFAULT,
            )
            limited.seen = answer.seen
            raise limited
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            failing = ServiceUnavailable.because(
                Reason.STATUS,
                f"the registry answers with status {answer.status}; try again later",
            )
            failing.seen = answer.seen
            raise failing
        return answer.status < HTTPStatus.BAD_REQUEST


def _key(search: Search) -> bytes:
    """Return what is the same where the same is looked for with the same token."""
    parts = (search.jwt, search.kind, search.reference, *search.locations)
    text = "\n".join(parts).encode(errors="surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()
