"""Naming: what the name of a repository means here, and who issues tokens for it.

Either a name is an alias of a release, which the API finds and issues a token for; or
it is the registry's own, and the registry's challenge says where tokens are issued.
Whoever serves requests is given one of the two, and knows nothing of the difference.
"""

import asyncio
from collections.abc import Collection, Mapping
from typing import Protocol

from resolver.content.forward import Forward, pass_on
from resolver.content.locator import Asker, Locator
from resolver.content.tag_list import TagPage
from resolver.errors import AccessDenied, RealmRefused, TokenError
from resolver.grammar.challenge import RELAY_PATH, TOKEN_PATH
from resolver.grammar.credential import Credential
from resolver.grammar.endpoint import RELEASES, Base, Content, Surface, own_names
from resolver.grammar.reference import parse_reference, shorten
from resolver.release.denial import explain_denial
from resolver.release.description import describe_resolution
from resolver.token.answer import TokenAnswer
from resolver.token.cache import ResolutionCache
from resolver.token.realm import Realms, TokenRelay
from resolver.token.request import (
    TokenRequest,
    parse_any_form,
    parse_any_query,
    parse_token_form,
    parse_token_query,
)
from resolver.token.service import TokenService
from resolver.upstream.ahead import ApiConnection
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import Observer, Part
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import VIA, Transport


class Naming(Protocol):
    """What names mean; belongs to one event loop."""

    surface: Surface
    """What is served."""
    token_path: str
    """Where clients get tokens."""
    parts: Collection[Part]
    """What a pull needs beside this proxy."""
    cache: ResolutionCache
    """What is remembered of names."""
    has_own_names: bool
    """Whether they are the registry's own."""

    @property
    def issuer(self) -> str:
        """URL of who issues tokens; nothing as long as nobody has named one."""

    def introduce(self, place: str) -> str:
        """Return in a sentence what is served at a place."""

    async def decide(self, endpoint: Base | Content, asker: Asker) -> Forward | TagPage:
        """Return the request that goes upstream, or its answer.

        Raises:
            RegistryError: neither can be had.

        """

    def remember(
        self,
        request: Forward,
        status: int,
        digest: str | None,
        body: bytes,
        address: str,
    ) -> None:
        """Take note of a manifest that the registry sent, as `Locator.remember`."""

    def heed(self, header: str, name: str | None, /) -> None:
        """Take note of a challenge that the registry sent.

        Args:
            header: the challenge.
            name: the repository that it is for; None where it is for `/v2/`.

        """

    def parse_token_request(
        self, method: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> TokenRequest:
        """Return what is asked of the token endpoint.

        Raises:
            RequestError: it cannot be read.

        """

    async def answer_token(self, request: TokenRequest, address: str) -> TokenAnswer:
        """Return what the client with that address gets.

        Raises:
            RegistryError: there is no token to be had.

        """

    async def describe(self, text: str, asker: Credential, /) -> str:
        """Return what somebody's reference stands for, for a terminal.

        Raises:
            RegistryError: it stands for nothing, or nobody can say.

        """

    def close(self) -> None:
        """Let go of threads and connections."""


class Aliases:
    """Names are aliases of releases, and the API issues the tokens."""

    surface = RELEASES
    token_path = TOKEN_PATH
    parts: Collection[Part] = tuple(Part)
    has_own_names = False

    def __init__(
        self,
        upstream: Upstream,
        transport: Transport,
        *,
        cache_ttl: int,
        tags: int,
        token_seconds: float,
        registry_seconds: float,
        observer: Observer,
    ) -> None:
        """Let tags select among so many releases, or, with 0, among none (R9)."""
        self._upstream = upstream
        self._api_connection = ApiConnection(upstream, transport)
        self._token_seconds = token_seconds
        self._tags_select = tags > 0
        self.cache = ResolutionCache(cache_ttl)
        self._tokens = TokenService(
            upstream,
            self.cache,
            timeout=token_seconds,
            tags=tags,
            observer=observer,
        )
        self._locator = Locator(
            upstream.url_of(Part.REGISTRY),
            transport,
            timeout=registry_seconds,
            selects=self._tags_select,
            observer=observer,
        )
        self.remember = self._locator.remember
        self.heed = upstream.heed
        self.answer_token = self._tokens.answer

    @property
    def issuer(self) -> str:
        """URL of the API."""
        return self._upstream.url_of(Part.API)

    def introduce(self, place: str) -> str:
        """Return in a sentence what is served at a place."""
        api = self._upstream.url_of(Part.API) or "the one that the registry names"
        registry = self._upstream.url_of(Part.REGISTRY)
        return (
            f"releases of the registry {registry} are served at {place}; the API is"
            f" {api}"
        )

    async def decide(self, endpoint: Base | Content, asker: Asker) -> Forward | TagPage:
        """Return the request that goes upstream, or its answer.

        Raises:
            TokenError: the token does not serve for it.
            RegistryError: as `Locator.decide`.

        """
        try:
            found = await self._locator.decide(endpoint, asker)
        except TokenError as error:
            error.service = await self._tokens.registry_service()
            raise
        if isinstance(found, Forward) and not found.authorization:
            self._api_connection.expect_request()
        return found

    def parse_token_request(
        self, method: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> TokenRequest:
        """Return what is asked of the token endpoint (rules R3 and R5).

        Raises:
            RequestError: it cannot be read, or is of another grant.

        """
        if method == "POST":
            return parse_token_form(headers.get("content-type"), body)
        return parse_token_query(query, headers.get("authorization"))

    async def describe(self, text: str, asker: Credential, /) -> str:
        """Return which release a reference stands for.

        Raises:
            RegistryError: as `TokenService.look_up`, or `explain_denial`.

        """
        reference = parse_reference(text, tags_select=self._tags_select)
        alias = reference.alias
        try:
            resolution = await self._tokens.look_up(str(alias), asker)
        except AccessDenied as error:
            deadline = Deadline.after(self._token_seconds)
            backend = await asyncio.to_thread(self._upstream.connect, deadline)
            raise await asyncio.to_thread(
                explain_denial, alias.slug, backend.api, asker, deadline
            ) from error
        return describe_resolution(resolution, reference)

    def close(self) -> None:
        """Let go of threads and connections."""
        self._tokens.close()
        self._locator.close()


class OwnNames:
    """Names are the registry's own, and its challenge says who issues the tokens."""

    token_path = RELAY_PATH
    parts: Collection[Part] = (Part.REGISTRY,)
    has_own_names = True

    def __init__(
        self,
        upstream: Upstream,
        transport: Transport,
        *,
        realm_hosts: Collection[str],
        token_seconds: float,
        observer: Observer,
    ) -> None:
        """Trust realms on these hosts, beside those of the registry's own domain."""
        self._registry_url = upstream.url_of(Part.REGISTRY)
        self.surface = own_names(upstream.host)
        self.cache = ResolutionCache(0)
        self._realms = Realms(self._registry_url, realm_hosts, transport)
        self._tokens = TokenRelay(
            self._realms,
            self._registry_url,
            transport,
            timeout=token_seconds,
            observer=observer,
        )
        self.heed = self._realms.heed
        self.answer_token = self._tokens.answer

    @property
    def issuer(self) -> str:
        """The realm, as the registry named it."""
        return self._realms.base

    def introduce(self, place: str) -> str:
        """Return in a sentence what is served at a place."""
        return (
            f"the registry {self._registry_url} is served at {place}, with its own"
            " names"
        )

    async def decide(self, endpoint: Base | Content, asker: Asker) -> Forward | TagPage:
        """Return the request as it is.

        Raises:
            RequestInvalid: the login has characters that no header can have.

        """
        return pass_on(endpoint, asker.authorization)

    def remember(
        self,
        request: Forward,
        status: int,
        digest: str | None,
        body: bytes,
        address: str,
    ) -> None:
        """Remember nothing: a name says where everything is."""

    def parse_token_request(
        self, method: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> TokenRequest:
        """Return what is asked of the token endpoint, of whatever grant.

        Raises:
            RequestInvalid: it cannot be read.
            RealmRefused: this process asks itself for it.

        """
        if VIA in headers.get("via", ""):
            raise RealmRefused(
                f"the registry {self._registry_url} names this proxy itself as its"
                " token endpoint; its operator can set the realm of its challenge right"
            )
        if method == "POST":
            return parse_any_form(headers.get("content-type"), body)
        return parse_any_query(query, headers.get("authorization"))

    async def describe(self, text: str, _asker: Credential, /) -> str:
        """Return that a name stands for itself."""
        return (
            f"{shorten(text)} stands for itself: names are those of the registry"
            f" {self._registry_url}"
        )

    def close(self) -> None:
        """Let go of threads and connections."""
        self._tokens.close()
