"""The token endpoint: what it answers (rules R3, R4 and R5).

Every alias among the scopes is resolved, the API issues a token for the locations,
and the aliases are appended to it. All of it happens within one deadline, because
clients give up after 15 seconds.
"""

import asyncio
from collections.abc import Mapping, Sequence

from resolver.errors import (
    AliasInvalid,
    RateLimited,
    Reason,
    Refusal,
    ServiceUnavailable,
)
from resolver.grammar.credential import Credential
from resolver.grammar.reference import Alias, is_stored_name, parse_alias
from resolver.grammar.scope import Scope
from resolver.release.resolution import ApiResolver, Resolution, candidates_of
from resolver.symptom import Role
from resolver.token.answer import TokenAnswer, compose, count_fitting
from resolver.token.cache import Lookup, ResolutionCache
from resolver.token.request import TokenRequest
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import (
    NOBODY,
    SEPARATOR,
    CacheState,
    Failure,
    LookUp,
    Observer,
    Part,
    Result,
    purpose,
)
from resolver.upstream.registry import Backend, Upstream
from resolver.upstream.share import Party, address_party
from resolver.upstream.threads import Threads, time_limit

LOOK_UPS_MAX = 4
"""Of one request at the same time, so that its scopes leave threads for others."""
THREADS = 512
"""Each waits for an answer of the API."""
SHARE = 128
"""So many threads for one address, for one login, and for one application."""


class TokenService:
    """Answers token requests; the blocking work runs in threads of its own."""

    def __init__(
        self,
        upstream: Upstream,
        cache: ResolutionCache,
        *,
        timeout: float,
        tags: int = 0,
        observer: Observer = NOBODY,
    ) -> None:
        """Let tags select among so many releases, or, with 0, among none (R9)."""
        self._upstream = upstream
        self._cache = cache
        self._timeout = timeout
        self._tags = tags
        self._observer = observer
        self._threads = Threads(THREADS, "balena-api", share=SHARE)

    async def answer(self, request: TokenRequest, address: str = "") -> TokenAnswer:
        """Return the token for the request of a client with that address.

        Raises:
            CredentialRejected: the API does not know the key.
            RateLimited: the API limits the rate.
            ServiceUnavailable: the API fails, or is too slow.

        """
        deadline = Deadline.after(self._timeout)
        late = (
            f"the balena API did not answer within {self._timeout:g} seconds;"
            " try again later"
        )
        try:
            async with time_limit(deadline, late):
                return await self._answer(request, address_party(address), deadline)
        except ServiceUnavailable as error:
            if error.reason is Reason.BUSY:
                self._observer.note(Failure(Part.API, Reason.BUSY))
            error.blame(*self._upstream.asked)
            raise

    async def registry_service(self) -> str:
        """Return the service for a challenge of ours, which should never change.

        Raises:
            ServiceUnavailable: the registry never said it, and does not now.

        """
        deadline = Deadline.after(self._timeout)
        late = "the registry does not answer; try again later"
        try:
            async with time_limit(deadline, late):
                return (await self._upstream.connected(self._threads, deadline)).service
        except ServiceUnavailable as error:
            error.blame(*self._upstream.asked)
            raise

    async def look_up(self, name: str, credential: Credential) -> Resolution:
        """Return what an alias stands for, for somebody who wants to know.

        Raises:
            RegistryError: as `answer`, and Refusal where there is nothing to pull.

        """
        deadline = Deadline.after(self._timeout)
        backend = await self._upstream.connected(self._threads, deadline)
        lookup = await self._resolve(backend, name, credential, (), deadline)
        outcome = lookup.outcome
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    @property
    def cache(self) -> ResolutionCache:
        """What is remembered."""
        return self._cache

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._threads.close()

    async def _answer(
        self, request: TokenRequest, parties: tuple[Party, ...], deadline: Deadline
    ) -> TokenAnswer:
        backend = await self._upstream.connected(self._threads, deadline)
        if login := request.credential.fingerprint:
            parties = (*parties, ("login", login))
        stored = [scope for scope in request.scopes if is_stored_name(scope.name)]
        names = self._names(request.scopes)
        gate = asyncio.Semaphore(LOOK_UPS_MAX)

        async def resolve(name: str) -> Lookup:
            async with gate:
                return await self._resolve(
                    backend, name, request.credential, parties, deadline
                )

        tasks = [asyncio.create_task(resolve(name)) for name in names]
        try:
            lookups = dict(zip(names, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()  # Where one failed, nobody waits for the others.
        purpose.set(SEPARATOR.join(names))
        return await self._issue(backend, request, stored, lookups, parties, deadline)

    def _names(self, scopes: Sequence[Scope]) -> Sequence[str]:
        """Return what is to be resolved, each name once.

        A challenge for a tag names its alias beside that of the application; then the
        token is for that one (R9).
        """
        names = [scope.name for scope in scopes if not is_stored_name(scope.name)]
        if not self._tags:
            return list(dict.fromkeys(names))
        with_tag = {name.rpartition("/")[0] for name in names if name.count("/") == 2}  # noqa: PLR2004
        return list(dict.fromkeys(name for name in names if name not in with_tag))

    async def _issue(
        self,
        backend: Backend,
        request: TokenRequest,
        stored: Sequence[Scope],
        lookups: Mapping[str, Lookup],
        parties: tuple[Party, ...],
        deadline: Deadline,
    ) -> TokenAnswer:
        """Return the token for what the names came to, as short as it has to be."""
        lists = {name: candidates_of(each.outcome) for name, each in lookups.items()}
        count = count_fitting(sum(len(candidates) > 1 for candidates in lists.values()))
        while True:
            cuts = {name: candidates.cut(count) for name, candidates in lists.items()}
            places = [place for cut in cuts.values() for place in cut.locations]
            jwt = await self._threads.run(
                backend.api.token,
                tuple(dict.fromkeys([*stored, *map(Scope, places)])),
                backend.service,
                request.credential,
                deadline,
                parties=parties,
            )
            answer = compose(
                jwt,
                lookups,
                cuts,
                request.credential,
                has_tag=len(lookups) + len(stored) < len(set(request.scopes)),
                has_stored=bool(stored),
            )
            count = min(count, max(map(len, cuts.values()), default=1)) // 2
            if answer.is_short or not count:
                return answer

    async def _resolve(
        self,
        backend: Backend,
        name: str,
        credential: Credential,
        parties: tuple[Party, ...],
        deadline: Deadline,
    ) -> Lookup:
        """Return what the name stands for, or the refusal: none sinks the rest (R3)."""
        try:
            alias: Alias = parse_alias(name)
        except AliasInvalid as refusal:
            # Nobody had to be asked, as if it had been known.
            return Lookup(refusal, CacheState.HIT)
        purpose.set(str(alias))
        resolver = ApiResolver(backend.api, backend.hosts, tags=self._tags)

        async def load() -> Resolution:
            try:
                return await self._threads.run(
                    resolver.resolve,
                    alias,
                    credential,
                    deadline,
                    parties=(*parties, ("application", alias.slug)),
                )
            except ServiceUnavailable as error:
                error.blame(backend.api.url, Role.API)
                raise

        try:
            lookup = await self._cache.resolve(
                alias,
                credential,
                load,
                # Whose share is used up waits, and nobody else for its turn.
                None if self._threads.is_free(parties) else parties,
            )
        except (RateLimited, ServiceUnavailable):
            self._observer.note(LookUp(Result.FAILED, CacheState.MISS))
            raise
        is_refused = isinstance(lookup.outcome, Refusal)
        result = Result.REFUSED if is_refused else Result.FOUND
        self._observer.note(LookUp(result, lookup.state))
        return lookup
