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
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from mitmproxy import command, ctx, exceptions, http, log
from mitmproxy.addonmanager import Loader
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import server_hooks

from mitm import error_page, option, redaction, reply
from resolver import (
    answer,
    cache,
    challenge,
    credential,
    errors,
    forward,
    public_url,
    reference,
    report,
    target,
    token_service,
    transport,
    upstream,
)

logger = logging.getLogger("balena")
UNREADABLE = "the registry's answer is encoded in a way that cannot be read"
BUG = "a bug of the registry proxy; its operator finds the reason in the log"

REQUEST_BODY_MAX = 16 << 10
"""Bytes; the one body that is taken is the form of a token request."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is known of a request that went upstream, until its answer came."""

    target: target.Base | target.Content
    view: answer.View
    warning: str | None


class RegistryProxy:
    """Rewrites the flows between container clients and a balena registry."""

    def __init__(self) -> None:
        self._settings: option.Settings | None = None
        self._transport: transport.Transport
        self._upstream: upstream.Upstream
        self._tokens: token_service.TokenService
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, Exchange] = (
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
        self._upstream = upstream.Upstream(
            settings.registry_url, settings.api_url, self._transport
        )
        self._tokens = token_service.TokenService(
            self._upstream,
            cache.ResolutionCache(settings.cache_ttl),
            timeout=settings.api_timeout,
        )

    def running(self) -> None:
        """Say in one line what is served where."""
        if not self._settings:
            return
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
        for flow in list(self._exchanges):
            redaction.redact(flow)
        if self._settings:
            self._tokens.close()
            self._transport.close()

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Name the registry in the TLS handshake, not what the client called us."""
        if self._settings:
            data.server.sni = self._settings.registry.address[0]

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse bodies that nobody needs, before they are taken into memory."""
        if not _is_open(flow):
            return
        length = flow.request.headers.get("content-length", "0")
        if "transfer-encoding" in flow.request.headers or not (
            length.isdecimal() and int(length) <= REQUEST_BODY_MAX
        ):
            flow.kill()
            logger.warning(
                "%s with a body of unknown or excessive size: connection closed",
                reference.printable(flow.request.method),
                extra=reply.client(flow),
            )

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the request, or rewrite it for the registry."""
        if not _is_open(flow):
            return
        with self._boundary(flow):
            await self._request(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Rewrite the head of the registry's answer, before it may be streamed."""
        exchange = self._exchanges.get(flow)
        if exchange is None or flow.response is None:
            return
        with self._boundary(flow):
            self._rewrite_head(flow, flow.response, exchange)

    def response(self, flow: http.HTTPFlow) -> None:
        """Rewrite what was not streamed, and take the secrets out of the flow."""
        exchange = self._exchanges.pop(flow, None)
        if exchange and flow.response:
            with self._boundary(flow):
                self._rewrite_body(flow, flow.response, exchange)
        redaction.redact(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Take the secrets out of a flow that failed, perhaps before `request`."""
        self._exchanges.pop(flow, None)
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

    async def _request(self, flow: http.HTTPFlow) -> None:
        settings = self._settings
        assert settings is not None, "configure comes before every flow"  # noqa: S101
        request = flow.request
        forwarded = _first_values(request.headers)
        redaction.strip_headers(request)
        path, authority = request.path, request.authority
        request.path = path.partition("?")[0]
        flow.metadata[reply.METADATA + "path"] = reference.printable(request.path)
        # mitmproxy shows a method in upper case, and sends it as it came.
        method = request.data.method.decode("latin-1")
        wanted = target.parse_target(method, path)
        if isinstance(wanted, target.Ping):
            reply.answer(flow, 200, b"pong", ("Content-Type", "text/plain"))
            return
        is_http2 = flow.client_conn.alpn == b"h2"
        if not is_http2 and request.http_version not in ("HTTP/1.0", "HTTP/1.1"):
            raise errors.RequestInvalid("this is not HTTP/1.1")
        if not is_http2 and authority:
            raise errors.RequestInvalid(
                "a request with a whole URL is one to a forward proxy, and this is none"
            )
        url = settings.public_url or public_url.client_url(
            tls=flow.client_conn.tls,
            host=request.host_header,
            headers=forwarded,
            trust_forwarded=settings.trust_forwarded,
        )
        if isinstance(wanted, target.TokenEndpoint):
            await self._answer_token(flow, wanted)
        else:
            await self._forward(flow, wanted, url)

    async def _answer_token(
        self, flow: http.HTTPFlow, wanted: target.TokenEndpoint
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
        for found in issued.resolutions:
            logger.info("%s is %s", found.alias, found, extra=reply.client(flow))
        for refusal in issued.refusals.values():
            logger.warning("refused: %s", refusal.message, extra=reply.client(flow))
            flow.marked = reply.MARK
        flow.comment = "; ".join(
            [f"{found.alias} is {found}" for found in issued.resolutions]
            + [f"refused: {refusal.message}" for refusal in issued.refusals.values()]
        )
        reply.answer_token(flow, issued.body)

    async def _forward(
        self, flow: http.HTTPFlow, wanted: target.Base | target.Content, url: str
    ) -> None:
        request = flow.request
        token_url = url + challenge.TOKEN_PATH
        try:
            decided = forward.forward(wanted, request.headers.get("authorization"))
        except errors.TokenError as error:
            service = await self._tokens.registry_service()
            fresh = forward.challenge_for(error, wanted, token_url, service)
            reply.fail(flow, error, ("WWW-Authenticate", str(fresh)))
            return
        request.path = decided.path
        if request.raw_content:
            request.content = b""
        request.host_header = self._upstream.host
        if not answer.is_blob(wanted):
            # An error may have to be read and rewritten, whatever it unpacks to.
            request.headers["accept-encoding"] = "identity"
        request.headers.pop("authorization", None)
        if decided.authorization is not None:
            request.headers["authorization"] = decided.authorization
        alias = None if decided.alias is None else str(decided.alias)
        if alias is not None:
            flow.metadata[reply.METADATA + "alias"] = alias
        view = answer.View(url, token_url, self._upstream.host, alias, decided.location)
        self._exchanges[flow] = Exchange(wanted, view, decided.warning)
        logger.debug("%s goes to the registry", alias, extra=reply.client(flow))

    def _rewrite_head(
        self, flow: http.HTTPFlow, response: http.Response, exchange: Exchange
    ) -> None:
        view = exchange.view
        # Latin-1 keeps every byte of a header as it is.
        texts = (
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in response.headers.fields
        )
        response.headers = http.Headers(
            [
                (name.encode("latin-1"), view.header(name, value).encode("latin-1"))
                for name, value in texts
            ]
        )
        if flow.request.method == "HEAD" and answer.is_rewritten(
            exchange.target, response.status_code
        ):
            # The length is that of a body with the location in it.
            response.headers.pop("content-length", None)
        if exchange.warning:
            response.headers["Warning"] = f'299 - "{exchange.warning}"'
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            response.reason = status_codes.RESPONSES.get(response.status_code, "")
        response.stream = answer.is_streamed(
            exchange.target, response.status_code, response.headers
        )

    def _rewrite_body(
        self, flow: http.HTTPFlow, response: http.Response, exchange: Exchange
    ) -> None:
        if reply.is_failed(flow):
            # The body that mitmproxy read meanwhile has replaced that of our error.
            reply.fail(flow, errors.InternalError(BUG))
            return
        if not answer.is_rewritten(exchange.target, response.status_code):
            return
        try:
            body = response.content
        except ValueError:
            # Its encoding is none that can be undone; so its words are left out.
            unreadable = errors.error_body(errors.ErrorCode.UNKNOWN, UNREADABLE)
            response.headers.pop("content-encoding", None)
            response.content = unreadable
            return
        if body:
            response.content = exchange.view.body(body)

    @contextmanager
    def _boundary(self, flow: http.HTTPFlow) -> Iterator[None]:
        """Turn every error into an answer: the one place where all are caught."""
        try:
            yield
        except errors.RegistryError as error:
            reply.fail(flow, error)
        except Exception:
            logger.exception("a bug of this proxy", extra=reply.client(flow))
            reply.fail(flow, errors.InternalError(BUG))


def _first_values(headers: http.Headers) -> dict[str, str]:
    """Return the first value of each header; `items` takes a minute for thousands."""
    values: dict[str, str] = {}
    for name, value in headers.fields:
        values.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return values


def _is_open(flow: http.HTTPFlow) -> bool:
    """Return whether the flow still waits for somebody to answer it."""
    return flow.live and flow.response is None and flow.error is None


addons = [RegistryProxy()]
