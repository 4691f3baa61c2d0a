"""Decides what becomes of a client's request: answered here, or sent upstream."""

import asyncio
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode

from mitmproxy import http

from mitm import exchange, reply, secret, storage
from mitm.guard import inbound
from mitm.route import Routes
from mitm.settings import Settings
from mitm.story import own_request, words
from mitm.story.fact import SEPARATOR
from mitm.story.journal import Journal
from mitm.story.record import Login, Record
from resolver import errors
from resolver.content import answer, forward
from resolver.content.index import DIGEST_HEADER
from resolver.content.locator import Asker, Locator
from resolver.content.tag_list import TagPage
from resolver.grammar import challenge, endpoint
from resolver.grammar.credential import Credential
from resolver.grammar.pasted import Pasted, parse_pasted
from resolver.grammar.reference import Alias, printable
from resolver.release.denial import explain_denial
from resolver.release.resolution import Resolution
from resolver.storage.redirect import Route
from resolver.token import service
from resolver.token.cache import ResolutionCache
from resolver.upstream.deadline import Deadline
from resolver.upstream.health import Health
from resolver.upstream.observer import Part
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Transport


class Asked(NamedTuple):
    """A client's request, and what was taken out of its flow."""

    flow: http.HTTPFlow
    held: secret.Withheld
    body: bytes
    record: Record


class Service:
    """Registry and API as the options name them, and what is asked of them."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        tap: own_request.OwnRequests,
        routes: Routes,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._storage = (
            storage.Storage(settings, tap) if settings.follows_redirects else None
        )
        self._journal = journal
        watching = journal.observer
        self._transport = Transport(settings.verification, tap=tap)
        self._upstream = Upstream(
            settings.registry_url,
            settings.api_url,
            self._transport,
            watching,
            tags=settings.tags_max,
        )
        self._tokens = service.TokenService(
            self._upstream,
            ResolutionCache(settings.cache_ttl),
            timeout=settings.api_timeout,
            selects=bool(settings.tags_max),
            observer=watching,
        )
        self._locator = Locator(
            settings.registry_url,
            self._transport,
            timeout=settings.limits.registry_seconds,
            selects=bool(settings.tags_max),
            observer=watching,
        )
        self._health = Health(self._upstream)

    async def handle(
        self, asked: Asked, *, is_stopping: bool
    ) -> exchange.Exchange | None:
        """Answer a request, or rewrite it; return what its answer has to be held to.

        Raises:
            RegistryError: it cannot be served.

        """
        flow, held, _, begun = asked
        # mitmproxy shows a method in upper case, and sends it as it came.
        method = flow.request.data.method.decode("latin-1")
        try:
            wanted = endpoint.parse_target(method, held.target)
            begun.aim(wanted)
        finally:
            words.begin(flow, begun)
        if isinstance(wanted, endpoint.Ping):
            reply.answer(flow, 200, b"pong", ("Content-Type", "text/plain"))
            return None
        if isinstance(wanted, endpoint.Ready):
            await self._answer_ready(flow, is_stopping=is_stopping)
            return None
        url = inbound.client_url(flow, held.headers, self._settings)
        if isinstance(wanted, endpoint.TokenEndpoint):
            await self._answer_token(asked, wanted)
            return None
        return await self._forward(asked, wanted, url)

    def parse_pasted(self, text: str) -> Pasted:
        """Return what somebody pasted, with its tag read as the proxy would.

        Raises:
            AliasInvalid: there is no name of a release in it.

        """
        return parse_pasted(text, tags_select=self._settings.tags_max > 0)

    async def look_up(self, alias: Alias, asker: Credential) -> Resolution:
        """Return what an alias stands for, for somebody at a prompt.

        Raises:
            RegistryError: as in `TokenService.look_up`, or `explain_denial`.

        """
        try:
            return await self._tokens.look_up(str(alias), asker)
        except errors.AccessDenied as error:
            backend = self._upstream.backend
            assert backend, "it denied the access"  # noqa: S101
            deadline = Deadline.after(self._settings.api_timeout)
            raise await asyncio.to_thread(
                explain_denial, alias.slug, backend.api, asker, deadline
            ) from error

    @property
    def cache(self) -> ResolutionCache:
        """What is remembered."""
        return self._tokens.cache

    def rewrite_head(
        self, flow: http.HTTPFlow, response: http.Response, known: exchange.Exchange
    ) -> None:
        """Rewrite the head of an answer, of the registry or of the storage.

        Raises:
            ServiceUnavailable: as `exchange.rewrite_head`, and where it is a redirect
                that was to be followed.

        """
        is_sound = response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        if is_sound and known.route is None:
            self._health.saw(Part.REGISTRY)
        if self._storage and answer.is_blob(known.target):
            self._storage.check_head(flow.request.method, response, known.route)
        exchange.rewrite_head(flow, response, known)

    def note(self, flow: http.HTTPFlow, known: exchange.Exchange) -> None:
        """Take note of what a manifest says, if that is needed to find it again."""
        response = flow.response
        if not (known.noted and response):
            return
        digest = response.headers.get(DIGEST_HEADER)
        body = response.get_content(strict=False) or b""
        self._locator.note(
            known.noted, response.status_code, digest, body, known.client
        )

    def close(self) -> None:
        """Let go of threads and connections."""
        self._tokens.close()
        self._locator.close()
        self._health.close()
        self._transport.close()
        if self._storage:
            self._storage.close()

    async def _answer_ready(self, flow: http.HTTPFlow, *, is_stopping: bool) -> None:
        readiness = await self._health.check(is_stopping=is_stopping)
        status = HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        headers = (*reply.JSON_HEADERS, reply.NO_STORE)
        reply.answer(flow, status, readiness.body, *headers)

    async def _answer_token(self, asked: Asked, wanted: endpoint.TokenEndpoint) -> None:
        flow, held, body, begun = asked
        if flow.request.method == "POST":
            request = service.parse_token_form(held.headers.get("content-type"), body)
        else:
            request = service.parse_token_query(wanted.query, held.authorization)
        if request.credential.authorization and not held.authorization:
            begun.login = Login.KEY  # It stood in the form.
        if request.scopes:
            flow.request.path = f"{challenge.TOKEN_PATH}?" + urlencode(
                [("scope", str(scope)) for scope in request.scopes]
            )
        names = [printable(scope.name) for scope in request.scopes]
        begun.alias = SEPARATOR.join(names) or None
        words.begin(flow, begun)
        with begun.asking_api():
            issued = await self._tokens.answer(request)
        self._health.saw(Part.API)
        self._journal.issue(begun, issued)
        if refusal := issued.refusal_for(held.client):
            raise refusal
        reply.answer_token(flow, issued.body)

    async def _forward(
        self, asked: Asked, wanted: endpoint.Base | endpoint.Content, url: str
    ) -> exchange.Exchange | None:
        flow, held, _, begun = asked
        token_url = url + challenge.TOKEN_PATH
        address = str(begun.client[0])
        asker = Asker(held.authorization, address, held.client.takes_scopes)
        try:
            decided = await self._locator.decide(wanted, asker)
        except errors.TokenError as error:
            service = await self._tokens.registry_service()
            fresh = forward.challenge_for(error, wanted, token_url, service)
            begun.error = error
            reply.fail(flow, error, ("WWW-Authenticate", str(fresh)))
            return None
        if isinstance(decided, TagPage):
            links = (("Link", decided.link),) if decided.link else ()
            reply.answer(flow, 200, decided.body, *reply.JSON_HEADERS, *links)
            return None
        host = self._upstream.host
        begun.forwarded(decided)
        if route := await self._find_blob(flow, wanted, decided):
            begun.storage = route.destination.host
            storage.rewrite_request(flow, route, decided.authorization)
        else:
            exchange.rewrite_request(flow.request, wanted, decided, host)
        alias = None if decided.alias is None else str(decided.alias)
        view = answer.View(url, token_url, host, alias, decided.location, decided.scope)
        noted = decided if answer.is_manifest(wanted) else None
        return exchange.Exchange(wanted, view, decided.warning, route, noted, address)

    async def _find_blob(
        self,
        flow: http.HTTPFlow,
        wanted: endpoint.Base | endpoint.Content,
        decided: forward.Forward,
    ) -> Route | None:
        """Return where the blob is, if one is asked for, and the registry has it not.

        Without a token the registry has nothing to say but where to get one.
        """
        if not (self._storage and answer.is_blob(wanted) and decided.authorization):
            return None
        route = await self._storage.find(flow.request.method, decided)
        if route:
            self._health.saw(Part.REGISTRY)
            self._routes.lead(flow.client_conn, route)
        return route
