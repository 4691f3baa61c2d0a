"""Serves balena releases by name: the mitmproxy addon.

Each hook reads a flow, lets `resolver` decide, and writes the decision back.
A request goes upstream only after `request` rewrote it; whatever fails on the way
is answered here, because mitmproxy forwards the untouched request when a hook raises.
"""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from mitmproxy import command, ctx, exceptions, http, log
from mitmproxy import connection as mitmproxy_connection
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import server_hooks

from mitm import (
    certificate,
    connection,
    error_page,
    exchange,
    inbound,
    journal,
    log_format,
    memory,
    option,
    record,
    redaction,
    reply,
    shutdown,
)
from resolver import (
    answer,
    cache,
    challenge,
    credential,
    errors,
    forward,
    health,
    observer,
    reference,
    report,
    target,
    token_service,
    transport,
    upstream,
)

logger = logging.getLogger("balena")
BUG = "a bug of the registry proxy; its operator finds the reason in the log"


class RegistryProxy:
    """Rewrites the flows between container clients and a balena registry."""

    def __init__(self) -> None:
        self._settings: option.Settings | None = None
        self._transport: transport.Transport
        self._upstream: upstream.Upstream
        self._tokens: token_service.TokenService
        self._health: health.Health
        self._connections = connection.Connections()
        self._stop = shutdown.GracefulStop(self._connections)
        self._certificate = certificate.CertificateKeeper()
        self._journal = journal.Journal(self._connections)
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, exchange.Exchange] = (
            WeakKeyDictionary()
        )
        self._failures: WeakKeyDictionary[http.HTTPFlow, bytes | None] = (
            WeakKeyDictionary()
        )

    def load(self, loader: Loader) -> None:
        """Declare the options."""
        redaction.quieten_logs()
        error_page.install_error_pages()
        option.declare_options(loader)

    def configure(self, updated: set[str]) -> None:
        """Check the options, build what stands on them, then swap it in."""
        if not updated.intersection(option.OPTIONS + option.OPTIONS_OF_MITMPROXY):
            return
        try:
            settings = option.read_settings()
            self._certificate.use(settings.certificate)
            self._journal.show_metrics(settings.metrics_address)
        except exceptions.OptionsError as error:
            if self._settings:
                raise
            # At the start an error in the log ends mitmproxy; without a traceback.
            logger.error("%s", error)  # noqa: TRY400
            return
        if settings == self._settings:
            return
        # What was in use goes on for the requests that still use it.
        self._settings = settings
        self._transport = transport.Transport(settings.verification)
        watching = self._journal.observer
        self._upstream = upstream.Upstream(
            settings.registry_url, settings.api_url, self._transport, watching
        )
        self._tokens = token_service.TokenService(
            self._upstream,
            cache.ResolutionCache(settings.cache_ttl),
            timeout=settings.api_timeout,
            observer=watching,
        )
        self._health = health.Health(self._upstream)
        self._connections.limit(settings.limits)
        self._stop.grant(settings.grace_period)
        log_format.use_format(settings.log_format)

    def running(self) -> None:
        """Say in one line what is served where."""
        if not self._settings:
            return
        self._stop.install()
        self._certificate.watch()
        memory.keep_memory_trimmed()
        addresses = ctx.master.addons.get("proxyserver").listen_addrs()
        urls = dict.fromkeys(
            f"http(s)://{option.format_host(*address[:2])}" for address in addresses
        )
        logger.log(
            log.ALERT,
            "releases of the registry %s are served at %s; the API is %s",
            self._settings.registry_url,
            self._settings.public_url or ", ".join(urls),
            self._settings.api_url or "the one that the registry names",
        )

    def done(self) -> None:
        """Let go of threads and connections; what is saved now has no secrets."""
        # Where this script is loaded anew, nobody would rewrite answers, nor keep time.
        self._connections.close()
        for flow in list(self._exchanges):
            redaction.redact(flow)
        self._certificate.stop()
        self._journal.close()
        if self._settings:
            self._tokens.close()
            self._health.close()
            self._transport.close()

    def client_connected(self, client: mitmproxy_connection.Client) -> None:
        """Let the client in, if there is room."""
        if self._settings:
            self._connections.admit(client)

    def client_disconnected(self, client: mitmproxy_connection.Client) -> None:
        """Let go of the client."""
        self._connections.forget(client)

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Name the registry in the TLS handshake, not what the client called us."""
        if self._settings:
            data.server.sni = self._settings.registry.address[0]
            self._connections.connect(data)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Listen to the registry with a limit."""
        self._connections.connected(data)

    def server_connect_error(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let go of a connection that did not come about."""
        self._connections.not_connected(data)

    def server_disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let go of the registry."""
        self._connections.disconnected(data)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse bodies that nobody needs, before they are taken into memory."""
        self._connections.begin_request(flow)
        if not _is_open(flow):
            return
        if not inbound.has_small_body(flow.request):
            flow.kill()
            logger.warning(
                "%s with a body of unknown or excessive size: connection closed",
                reference.printable(flow.request.method),
                extra={"client": flow.client_conn.peername},
            )

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the request, or rewrite it for the registry."""
        self._connections.complete_request(flow)
        if not _is_open(flow):
            return
        assert self._settings, "configure comes before every flow"  # noqa: S101
        headers = inbound.joined_values(flow.request.headers)
        begun = self._journal.begin(flow, headers, self._settings)
        with self._boundary(flow):
            await self._request(flow, headers, begun, self._settings)
        self._journal.name_request(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Rewrite the head of the registry's answer, before it may be streamed."""
        known = self._exchanges.get(flow)
        if known is None or flow.response is None:
            return
        with self._boundary(flow):
            if flow.response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._health.saw(observer.Part.REGISTRY)
            exchange.rewrite_head(flow, flow.response, known)
        if reply.is_failed(flow):
            # mitmproxy will put the registry's body in the place of ours.
            self._failures[flow] = flow.response.raw_content
        reader = self._connections.begin_answer(
            flow, is_streamed=bool(flow.response.stream)
        )
        if begun := self._journal.get(flow):
            begun.reader = reader
        self._journal.name_request(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """Rewrite what was not streamed, and take the secrets out of the flow."""
        known = self._exchanges.pop(flow, None)
        if known and flow.response:
            if reply.is_failed(flow):
                flow.response.raw_content = self._failures.pop(flow)
            else:
                with self._boundary(flow):
                    exchange.rewrite_body(flow.response, known)
        self._journal.answered(flow)
        self._connections.end_answer(flow)
        redaction.redact(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Take the secrets out of a flow that failed, perhaps before `request`."""
        self._exchanges.pop(flow, None)
        error_page.prepare_page(flow)
        self._journal.broken(flow, reply.note_failure(flow))
        self._connections.end_answer(flow)
        flow.request.path = flow.request.path.partition("?")[0]
        redaction.redact(flow)

    @command.command("balena.resolve")  # type: ignore[untyped-decorator]
    def resolve(self, alias: str) -> None:
        """Show what an alias stands for, with the API key in BALENA_API_KEY."""
        self._shown = asyncio.create_task(self._show(alias))

    async def _show(self, alias: str) -> None:
        asker = credential.credential_of_environment(os.environ)
        try:
            found = await self._tokens.look_up(alias.replace("+", "_"), asker)
            logger.log(log.ALERT, "%s", report.describe_resolution(found))
        except errors.RegistryError as error:
            logger.log(log.ALERT, "%s", error)

    async def _request(
        self,
        flow: http.HTTPFlow,
        headers: dict[str, str],
        begun: record.Record,
        settings: option.Settings,
    ) -> None:
        request = flow.request
        redaction.strip_headers(request)
        path, authority = request.path, request.authority
        request.path = path.partition("?")[0]
        flow.metadata[reply.METADATA + "path"] = reference.printable(request.path)
        # mitmproxy shows a method in upper case, and sends it as it came.
        method = request.data.method.decode("latin-1")
        wanted = target.parse_target(method, path)
        begun.aim(wanted)
        if isinstance(wanted, target.Ping):
            reply.answer(flow, 200, b"pong", ("Content-Type", "text/plain"))
            return
        if isinstance(wanted, target.Ready):
            await self._answer_ready(flow)
            return
        url = inbound.client_url(flow, authority, headers, settings)
        if isinstance(wanted, target.TokenEndpoint):
            await self._answer_token(flow, wanted, begun)
        else:
            await self._forward(flow, wanted, url, begun)

    async def _answer_ready(self, flow: http.HTTPFlow) -> None:
        is_stopping = self._connections.is_stopping
        readiness = await self._health.check(is_stopping=is_stopping)
        status = HTTPStatus.OK if readiness.is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        headers = (*reply.JSON_HEADERS, reply.NO_STORE)
        reply.answer(flow, status, readiness.body, *headers)

    async def _answer_token(
        self,
        flow: http.HTTPFlow,
        wanted: target.TokenEndpoint,
        begun: record.Record,
    ) -> None:
        headers = flow.request.headers
        if flow.request.method == "POST":
            asked = token_service.parse_token_form(
                headers.get("content-type"), flow.request.raw_content or b""
            )
        else:
            asked = token_service.parse_token_query(
                wanted.query, headers.get("authorization")
            )
        flow.request.path = f"{challenge.TOKEN_PATH}?" + urlencode(
            [("scope", str(scope)) for scope in asked.scopes]
        )
        issued = await self._tokens.answer(asked)
        self._health.saw(observer.Part.API)
        self._journal.issue(begun, issued)
        if issued.refusals:
            flow.marked = reply.MARK
        flow.comment = "; ".join(
            [f"{found.alias} is {found}" for found in issued.resolutions]
            + [f"refused: {refusal.message}" for refusal in issued.refusals.values()]
        )
        reply.answer_token(flow, issued.body)

    async def _forward(
        self,
        flow: http.HTTPFlow,
        wanted: target.Base | target.Content,
        url: str,
        begun: record.Record,
    ) -> None:
        token_url = url + challenge.TOKEN_PATH
        try:
            authorization = flow.request.headers.get("authorization")
            decided = forward.forward(wanted, authorization)
        except errors.TokenError as error:
            service = await self._tokens.registry_service()
            fresh = forward.challenge_for(error, wanted, token_url, service)
            begun.error = error
            reply.fail(flow, error, ("WWW-Authenticate", str(fresh)))
            return
        exchange.rewrite_request(flow.request, wanted, decided, self._upstream.host)
        alias = None if decided.alias is None else str(decided.alias)
        if alias is not None:
            flow.metadata[reply.METADATA + "alias"] = alias
        view = answer.View(url, token_url, self._upstream.host, alias, decided.location)
        self._exchanges[flow] = exchange.Exchange(wanted, view, decided.warning)
        begun.forwarded(decided)
        self._connections.forward_request(flow)

    @contextmanager
    def _boundary(self, flow: http.HTTPFlow) -> Iterator[None]:
        """Turn every error into an answer: the one place where all are caught."""
        try:
            yield
        except errors.RegistryError as error:
            self._fail(flow, error)
        except Exception:
            logger.exception("a bug of this proxy")
            self._fail(flow, errors.InternalError(BUG))

    def _fail(self, flow: http.HTTPFlow, error: errors.RegistryError) -> None:
        if begun := self._journal.get(flow):
            begun.failed(error)
        reply.fail(flow, error)


def _is_open(flow: http.HTTPFlow) -> bool:
    """Return whether the flow still waits for somebody to answer it."""
    return flow.live and flow.response is None and flow.error is None


addons = [RegistryProxy()]
