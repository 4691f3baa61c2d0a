"""Serves balena releases by name: the mitmproxy addon.

Each hook reads a flow, lets `resolver` decide, and writes the decision back.
A request goes upstream only after `request` rewrote it; whatever fails on the way
is answered here, because mitmproxy forwards the untouched request when a hook raises.
"""

import asyncio
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from mitmproxy import connection as mitmproxy_connection
from mitmproxy import ctx, exceptions, http, log
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import layer, server_hooks

from mitm import (
    command,
    endpoint,
    exchange,
    option,
    redaction,
    replay,
    reply,
    route,
    secret,
    settings,
)
from mitm.guard import (
    absence,
    certificate,
    connection,
    dispatch,
    error_page,
    inbound,
    memory,
    plain,
    stop,
)
from mitm.story import journal, log_format, log_level, own_request, words
from resolver import errors
from resolver.grammar import reference

logger = logging.getLogger("balena")
SECRETS_SHOWN = (
    "balena_show_secrets is on: API keys and tokens are in every flow, and in whatever"
    " is saved or exported; give it to nobody, and switch it off when you are done"
)
BUG = "a bug of the registry proxy; its operator finds the reason in the log"


class RegistryProxy:
    """Rewrites the flows between container clients and a balena registry."""

    def __init__(self) -> None:
        self._is_running = False
        self._dispatch: dispatch.Dispatch | None = None
        self._settings: settings.Settings | None = None
        self._service: endpoint.Service
        self._connections = connection.Connections()
        self._stop = stop.GracefulStop(self._connections)
        self._certificate = certificate.CertificateKeeper()
        self._journal = journal.Journal(self._connections)
        self._routes = route.Routes()
        self._own_requests = own_request.OwnRequests()
        self._withheld: WeakKeyDictionary[http.HTTPFlow, secret.Withheld] = (
            WeakKeyDictionary()
        )
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, exchange.Exchange] = (
            WeakKeyDictionary()
        )
        self._failures: WeakKeyDictionary[http.HTTPFlow, bytes | None] = (
            WeakKeyDictionary()
        )

    def load(self, loader: Loader) -> None:
        """Declare the options and the content views."""
        redaction.quieten_logs()
        error_page.install_error_pages()
        option.declare_options(loader)
        if ctx.master.addons.get("view") is not None:
            # Nobody else shows what is in a flow, and they take time to load.
            importlib.import_module("mitm.view").register_views()

    def configure(self, updated: set[str]) -> None:
        """Check the options, build what stands on them, then swap it in."""
        if "termlog_verbosity" in updated and self._is_running:
            log_level.spare_unread_lines()
        if not updated.intersection(option.OPTIONS + option.OPTIONS_OF_MITMPROXY):
            return
        try:
            chosen = settings.read_settings()
            self._certificate.use(chosen.certificate)
            self._journal.show_metrics(chosen.metrics_address)
        except exceptions.OptionsError as error:
            if self._settings:
                raise
            # At the start an error in the log ends mitmproxy; without a traceback.
            logger.error("%s", error)  # noqa: TRY400
            return
        if chosen == self._settings:
            return
        # What was in use goes on for the requests that still use it.
        self._settings = chosen
        self._service = endpoint.Service(
            chosen, self._journal, self._own_requests, self._routes
        )
        self._connections.limit(chosen.limits)
        self._stop.grant(chosen.grace_period)
        log_format.use_format(chosen.log_format)
        if chosen.show_secrets:
            logger.warning("%s", SECRETS_SHOWN)

    def running(self) -> None:
        """Say in one line what is served where."""
        self._is_running = True
        absence.end()
        log_level.spare_unread_lines()
        if not self._settings:
            return
        if self._settings.fast_events:
            self._dispatch = dispatch.Dispatch(ctx.master.addons)
            self._dispatch.install()
        self._own_requests.use(asyncio.get_running_loop())
        self._stop.install()
        self._certificate.watch()
        memory.keep_memory_trimmed()
        addresses = ctx.master.addons.get("proxyserver").listen_addrs()
        scheme = "https" if self._settings.serves_tls else "http"
        urls = dict.fromkeys(
            f"{scheme}://{settings.format_host(*address[:2])}" for address in addresses
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
        absence.begin()
        if self._dispatch:
            self._dispatch.uninstall()
        for flow in list(self._exchanges):
            secret.forget(flow)
        self._certificate.stop()
        self._journal.close()
        if self._settings:
            self._service.close()

    def client_connected(self, client: mitmproxy_connection.Client) -> None:
        """Let the client in, if there is room."""
        if self._settings:
            self._connections.admit(client)

    def client_disconnected(self, client: mitmproxy_connection.Client) -> None:
        """Let go of the client."""
        self._connections.forget(client)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Let a client have TLS, or tell it that there is none."""
        if self._settings and self._settings.serves_tls:
            plain.await_hello(nextlayer)
        else:
            plain.answer_hello(nextlayer)

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Connect to the registry, or to where a blob is stored."""
        if self._settings:
            origin = self._settings.registry.address
            self._routes.connect(data, origin, follows=self._settings.follows_redirects)
            self._connections.connect(data)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Listen to the registry with a limit."""
        self._connections.connected(data, self._routes.connected(data))

    def server_connect_error(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let go of a connection that did not come about."""
        self._routes.connected(data)
        self._connections.not_connected(data)

    def server_disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let go of the registry."""
        self._connections.disconnected(data)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Take secrets out of the flow, and refuse bodies that nobody needs."""
        if not flow.live or own_request.is_own(flow):
            return
        replay.prepare(flow)
        self._connections.begin_request(flow)
        held = self._withheld[flow] = secret.withhold(flow)
        request = flow.request
        if _is_open(flow) and not inbound.has_small_body(
            request.method, request.path, held.headers
        ):
            flow.kill()
            logger.warning(
                "%s with a body of unknown or excessive size: connection closed",
                reference.printable(request.method),
                extra={"client": flow.client_conn.peername},
            )

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the request, or rewrite it for the registry."""
        if not flow.live or own_request.is_own(flow):
            return
        self._connections.complete_request(flow)
        if not _is_open(flow):
            return
        assert self._settings, "configure comes before every flow"  # noqa: S101
        held = self._withheld.pop(flow, None) or secret.withhold(flow)
        body = secret.take_body(flow.request)
        begun = self._journal.begin(flow, held.headers, self._settings)
        own_request.served.set(flow)
        with self._boundary(flow):
            known = await self._service.handle(
                endpoint.Asked(flow, held, body, begun),
                is_stopping=self._connections.is_stopping,
            )
            if known:
                self._exchanges[flow] = known
                self._connections.forward_request(flow)
        self._journal.name_request(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Rewrite the head of the registry's answer, before it may be streamed."""
        known = self._exchanges.get(flow)
        if known is None or flow.response is None:
            return
        if ctx.options.http2:
            # The token is still in the flow; it was sent, and a blob may take minutes.
            secret.forget(flow)
        with self._boundary(flow):
            self._service.rewrite_head(flow, flow.response, known)
        if self._journal.has_failed(flow):
            # mitmproxy will put the registry's body in the place of ours.
            self._failures[flow] = exchange.stand_in(flow.response)
        reader = self._connections.begin_answer(
            flow, is_streamed=bool(flow.response.stream)
        )
        if begun := self._journal.get(flow):
            begun.began()
            begun.reader = reader
            if flow.response.stream:
                words.tell_streaming(flow, begun)
        self._journal.name_request(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """Rewrite what was not streamed, and take the secrets out of the flow."""
        known = self._exchanges.pop(flow, None)
        if known and flow.response:
            if self._journal.has_failed(flow):
                flow.response.raw_content = self._failures.pop(flow)
            else:
                with self._boundary(flow):
                    self._service.note(flow, known)
                    exchange.rewrite_body(flow.response, known)
        if not self._is_of_client(flow):
            return
        self._journal.answered(flow)
        self._connections.end_answer(flow)
        secret.forget(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """Close a flow that failed, perhaps before `request`."""
        if not self._is_of_client(flow):
            return
        if exchange.is_answered(flow):
            flow.error = None
            self.response(flow)
            return
        self._withheld.pop(flow, None)
        known = self._exchanges.pop(flow, None)
        error_page.prepare_page(flow, is_led_away=bool(known and known.route))
        reason = redaction.without_bytes(flow.error.msg if flow.error else "unknown")
        if flow.error:
            flow.error.msg = reason
        self._journal.broken(flow, reason)
        self._connections.end_answer(flow)
        secret.forget(flow)

    def current_service(self) -> endpoint.Service:
        """Return what answers requests.

        Raises:
            CommandError: the options do not say yet which registry is fronted.

        """
        if not self._settings:
            raise exceptions.CommandError(
                "no registry is fronted: the options have an error, see the log"
            )
        return self._service

    def _is_of_client(self, flow: http.HTTPFlow) -> bool:
        """Return whether a client waits for the flow, or did until just now.

        Others were read from a file, or are requests of the proxy's own.
        """
        is_begun = flow in self._withheld or self._journal.get(flow) is not None
        return (flow.live or is_begun) and not own_request.is_own(flow)

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


proxy = RegistryProxy()
addons = [proxy, command.Commands(proxy.current_service)]
