"""The endpoints: a request is answered here, or sent upstream."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from mitmproxy import http
from mitmproxy.net.http import status_codes

from mitm import accel, outgoing, reply, storage
from mitm.exchange import (
    Decision,
    Exchange,
    check_head,
    rewrite_body,
    rewrite_head,
    rewrite_request,
    unpack_body,
)
from mitm.guard import inbound
from mitm.guard.connection import Connections
from mitm.option import Names
from mitm.settings import Settings
from mitm.story import own_request
from mitm.story.journal import Journal
from mitm.story.session import session_of
from resolver import errors, naming
from resolver.blob.count import Kept
from resolver.blob.request import Found
from resolver.content import answer, forward
from resolver.content.index import DIGEST_HEADER
from resolver.content.locator import Asker
from resolver.content.tag_list import TagPage
from resolver.grammar import challenge
from resolver.grammar.credential import bearer_token
from resolver.grammar.endpoint import (
    Base,
    Catalog,
    Content,
    Ping,
    Ready,
    TokenEndpoint,
    parse_endpoint,
    parse_namespace,
    parse_written,
)
from resolver.grammar.reference import printable
from resolver.symptom import Role, Seen, Symptom
from resolver.token import service
from resolver.upstream.clock import Clocks
from resolver.upstream.health import Health
from resolver.upstream.host import Hosts
from resolver.upstream.observer import Contact, Observers, Part
from resolver.upstream.outgoing import NONE
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import VIA, Transport


class Endpoints:
    """Registry and API as the options name them, and what is asked of them."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        own_requests: own_request.OwnRequests,
        hosts: Hosts,
    ) -> None:
        self._settings = settings
        self._clocks = Clocks()
        self._observers = Observers(journal.observer, own_requests, self._clocks)
        self._storage = (
            storage.Storage(settings, self._observers, hosts)
            if settings.follows_redirects
            else None
        )
        self._journal = journal
        blobs = self._storage.cache if self._storage else None
        journal.watch(blobs.folder.kept if blobs else Kept())
        self._transport = Transport(
            settings.verification,
            connections=service.SHARE,
            observer=self._observers,
            hosts=hosts,
            proxies=settings.proxies,
        )
        self._upstream = Upstream(
            settings.registry_url,
            settings.api_url,
            self._transport,
            self._observers,
        )
        self.naming = self._choose_naming()
        """What names mean, which nothing else here knows."""
        self._health = Health(self._upstream, self.naming.parts)
        self._observers.add(self._health)

    def _choose_naming(self) -> naming.Naming:
        settings = self._settings
        if settings.names is Names.REGISTRY:
            return naming.OwnNames(
                self._upstream,
                self._transport,
                realm_hosts=settings.realm_hosts,
                token_seconds=settings.api_timeout,
                observer=self._observers,
            )
        return naming.Aliases(
            self._upstream,
            self._transport,
            cache_ttl=settings.cache_ttl,
            tags=settings.tags_max,
            token_seconds=settings.api_timeout,
            registry_seconds=settings.limits.registry_seconds,
            observer=self._observers,
        )

    async def announce(self) -> None:
        """Log whether registry and API can be reached; in a task of its own."""
        own_request.hidden.set(True)
        await self._health.announce()

    async def handle(
        self, flow: http.HTTPFlow, exchange: Exchange, connections: Connections
    ) -> None:
        """Answer a request, or rewrite it for the registry or the storage of a blob.

        Raises:
            RegistryError: it cannot be served.

        """
        record = exchange.record
        assert record, "the request is whole"  # noqa: S101
        record.upstream, record.naming = self._upstream, self.naming
        record.namespace = parse_namespace(exchange.target)
        # mitmproxy shows a method in upper case, and sends it as it came.
        method = flow.request.data.method.decode("latin-1")
        session = session_of(bearer_token(exchange.authorization))
        try:
            endpoint = parse_endpoint(method, exchange.target, self.naming.surface)
            record.aim(endpoint)
            if isinstance(endpoint, Base | Content):
                record.session = session
        except errors.MethodNotAllowed:
            record.aim_at_push(parse_written(exchange.target))
            record.session = session
            raise
        finally:
            self._journal.began(flow, record)
        if isinstance(endpoint, Ping):
            reply.answer(flow, 200, b"pong", ("Content-Type", "text/plain"))
        elif isinstance(endpoint, Ready):
            await self._answer_ready(flow, is_stopping=connections.is_stopping)
        else:
            connections.check_room(flow)
            url = inbound.client_url(
                flow,
                exchange.headers,
                public_url=self._settings.public_url,
                trust_forwarded=self._settings.trust_forwarded,
            )
            if isinstance(endpoint, TokenEndpoint):
                await self._answer_token(flow, exchange, endpoint)
            else:
                self._check_loop(exchange.headers)
                await self._forward(flow, exchange, endpoint, url)

    @property
    def cache_address(self) -> tuple[str, int] | None:
        """Where this process gets blobs of the cache, if there is one."""
        blobs = self._storage.cache if self._storage else None
        return blobs.address if blobs else None

    def rewrite_head(
        self, flow: http.HTTPFlow, response: http.Response, exchange: Exchange
    ) -> None:
        """Rewrite the head of an answer, of the registry or of the storage.

        Raises:
            RegistryError: the answer cannot be passed on.

        """
        if (decision := exchange.decision) is None:
            return
        outgoing.check_head(response, exchange)
        if response.status_code == HTTPStatus.NOT_FOUND:
            self._forget(decision.forward)
        is_sound = response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        if is_sound and decision.route is None:
            self._observers.note(Contact(Part.REGISTRY))
            if response.status_code == HTTPStatus.UNAUTHORIZED:
                self._heed(response, decision)
                if exchange.record:
                    ahead = self._clocks.ahead(self.naming.issuer)
                    exchange.record.issuer_ahead = ahead
        if self._storage and answer.is_blob(decision.endpoint):
            self._storage.check_head(flow.request.method, response, decision.route)
        check_head(flow, response, exchange)
        if routed := decision.blob_route:
            storage.rewrite_head(flow, response, *routed)
        else:
            rewrite_head(flow, response, exchange, decision)
        response.reason = status_codes.RESPONSES.get(response.status_code, "")

    def rewrite_body(self, response: http.Response, exchange: Exchange) -> None:
        """Rewrite the body of an answer, and note where a manifest was found.

        Raises:
            AnswerUnreadable: it is packed in a way that cannot be undone.

        """
        decision, record = exchange.decision, exchange.record
        if decision is None or record is None:
            return
        unpack_body(response)
        if answer.is_manifest(decision.endpoint):
            self.naming.remember(
                decision.forward,
                response.status_code,
                response.headers.get(DIGEST_HEADER),
                response.raw_content or b"",
                str(record.client[0]),
            )
            if self._storage:
                self._storage.learn(decision.forward, response)
        if decision.route:
            storage.rewrite_body(response, record.request_id)
        else:
            rewrite_body(response, decision)

    def close(self) -> None:
        """Let go of threads and connections."""
        self.naming.close()
        self._health.close()
        self._transport.close()
        if self._storage:
            self._storage.close()

    def _heed(self, response: http.Response, decision: Decision) -> None:
        """Take note of a challenge; that of the catalog speaks for nothing else."""
        if not isinstance(decision.endpoint, Catalog):
            endpoint = decision.endpoint
            name = endpoint.name if isinstance(endpoint, Content) else None
            self.naming.heed(response.headers.get("www-authenticate", ""), name)

    def _forget(self, request: forward.Forward) -> None:
        """Forget what led to an image that was deleted in the registry."""
        if request.is_image and request.alias and request.location:
            self.naming.cache.forget_image(request.alias.slug, request.location)

    async def _answer_ready(self, flow: http.HTTPFlow, *, is_stopping: bool) -> None:
        readiness = await self._health.check(is_stopping=is_stopping)
        status = HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        headers = (*reply.JSON_HEADERS, reply.NO_STORE)
        reply.answer(flow, status, readiness.body, *headers)

    async def _answer_token(
        self, flow: http.HTTPFlow, exchange: Exchange, endpoint: TokenEndpoint
    ) -> None:
        record = exchange.record
        assert record, "the request is whole"  # noqa: S101
        request = self.naming.parse_token_request(
            flow.request.method, endpoint.query, exchange.headers, exchange.body
        )
        if request.scopes:
            flow.request.path = f"{challenge.TOKEN_PATH}?" + urlencode(
                [("scope", str(scope)) for scope in request.scopes]
            )
        record.asked_token(
            request.credential,
            [*dict.fromkeys(printable(scope.name) for scope in request.scopes)],
        )
        self._journal.began(flow, record)
        with record.asking_api():
            token = await self.naming.answer_token(request, str(record.client[0]))
        self._journal.issue(record, token)
        if refusal := token.refusal_for(exchange.client):
            raise refusal
        exchange.answer_token(flow, token, request)

    async def _forward(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        endpoint: Base | Content,
        url: str,
    ) -> None:
        record = exchange.record
        assert record, "the request is whole"  # noqa: S101
        token_url, address = url + self.naming.token_path, str(record.client[0])
        record.realm = token_url
        asker = Asker(exchange.authorization, address, exchange.client.takes_scopes)
        try:
            found = await self.naming.decide(endpoint, asker)
        except errors.TokenError as error:
            header = str(forward.challenge_for(error, endpoint, token_url))
            record.error = error
            name = record.request_id
            reply.fail(flow, error, name, ("WWW-Authenticate", header))
            return
        if isinstance(found, TagPage):
            links = (("Link", found.link),) if found.link else ()
            reply.answer(flow, 200, found.body, *reply.JSON_HEADERS, *links)
            return
        host = self._upstream.host
        record.forwarded(found, host)
        alias = None if found.alias is None else str(found.alias)
        view = answer.View(url, token_url, host, alias, found.location, found.scope)
        if (
            self._storage
            and self._settings.has_nginx
            and await accel.answer_nginx(flow, exchange, endpoint, found, self._storage)
        ):
            return
        blob = await self._find_blob(flow, exchange, endpoint, found)
        route, record.cache, record.fetch = blob.route, blob.state, blob.fetch
        exchange.decision = Decision(endpoint, found, view, route)
        if route:
            if not route.is_cache:
                record.storage = route.destination.host
                record.host = route.destination.netloc
            storage.rewrite_request(flow, exchange, route, found.authorization)
        else:
            rewrite_request(flow, exchange, exchange.decision)
        is_here = route is not None and route.is_cache
        outgoing.lead(flow, exchange, NONE if is_here else self._settings.proxies)

    def _check_loop(self, headers: Mapping[str, str]) -> None:
        """See that the request is none of this process's own.

        Raises:
            LoopDetected: it is, and would come back for ever.

        """
        if VIA in headers.get("via", ""):
            error = errors.LoopDetected(
                "the registry behind this proxy is this proxy itself; its operator has"
                " to name another"
            )
            error.seen = Seen(Symptom.ITSELF)
            error.blame(self._upstream.host, Role.REGISTRY)
            raise error

    async def _find_blob(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        endpoint: Base | Content,
        found: forward.Forward,
    ) -> Found:
        """Return where the blob is, if one is asked for that the registry has not."""
        record = exchange.record
        is_blob = answer.is_blob(endpoint) and not found.is_challenged
        if not (self._storage and is_blob):
            return Found(None)
        address = str(record.client[0]) if record else ""
        return await self._storage.find(
            flow.request.method, found, exchange.headers, address
        )
