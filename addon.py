"""Serves balena releases by name: the mitmproxy addon.

Each hook reads a flow, lets `resolver` decide, and writes the decision back.
A request goes upstream only after `request` rewrote it; whatever fails on the way
is answered here, because mitmproxy forwards the untouched request when a hook raises.
"""

import asyncio
import importlib
import logging
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from mitmproxy import connection as mitmproxy_connection
from mitmproxy import ctx, exceptions, http, log, tls
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import layer, server_hooks

from mitm import (
    command,
    courier,
    endpoint,
    outgoing,
    redaction,
    replay,
    reply,
    route,
    secret,
    settings,
)
from mitm.exchange import Exchange
from mitm.guard import (
    absence,
    certificate,
    connection,
    error_page,
    http1,
    idle,
    inbound,
    memory,
    plain,
    stop,
)
from mitm.story import (
    journal,
    log_format,
    log_level,
    own_request,
    record,
    symptom,
    words,
)
from mitm.story.handshake import Handshake
from mitm.story.quantity import describe_size
from resolver import errors
from resolver.grammar.url import format_host
from resolver.storage.redirect import Route
from resolver.upstream import host

if TYPE_CHECKING:
    from live.site import Site

logger = logging.getLogger("balena")
SECRETS_SHOWN = (
    "balena_show_secrets is on: API keys and tokens are in every flow, and in whatever"
    " is saved or exported; give it to nobody, and switch it off when you are done"
)
CACHE_SECONDS = 300
"""How long the cache may be silent. It keeps an eye on registry and storage itself, and
a client may wait for some megabytes before those that it asked for."""
BUG = "a bug of the registry proxy; its operator finds the reason in the log"


class RegistryProxy:
    """Rewrites the flows between container clients and a balena registry."""

    def __init__(self) -> None:
        self._is_running = False
        self._idle_options: Collection[str] = ()
        self._announcement: asyncio.Task[None] | None = None
        self._settings: settings.Settings | None = None
        self._endpoints: endpoint.Endpoints
        self._connections = connection.Connections()
        self._stop = stop.GracefulStop(self._connections)
        self._certificate = certificate.CertificateKeeper()
        self._journal = journal.Journal(self._connections)
        self._own_requests = own_request.OwnRequests()
        self._site: Site | None = None
        self._hosts = host.Hosts()
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, Exchange] = (
            WeakKeyDictionary()
        )
        self._couriers = courier.Couriers(
            self._exchanges,
            self._may_ask_again,
            self._forward,
            self._connections.attend,
        )
        self._commands = command.Commands(self.current_endpoints, self.find_pull)

    def load(self, loader: Loader) -> None:
        """Declare the options and the content views."""
        redaction.quieten_logs()
        log_format.guard_output()
        error_page.install_error_pages()
        http1.replace_parsers()
        settings.declare_options(loader)
        # Not as an addon, which would be asked for each event of each request.
        ctx.master.commands.collect_commands(self._commands)
        if ctx.master.addons.get("view") is not None:
            # Nobody else shows what is in a flow, and they take time to load.
            importlib.import_module("mitm.view").register_views(self.link_pull)

    def configure(self, updated: set[str]) -> None:
        """Check the options, build what stands on them, then swap it in."""
        if "termlog_verbosity" in updated and self._is_running:
            log_level.spare_unread_lines()
        for name in updated.intersection(self._idle_options):
            logger.warning("%s: has no effect in mitmdump once it runs", name)
        if updated.isdisjoint(settings.OPTIONS_READ):
            return
        try:
            values = settings.read_settings()
            self._certificate.use(values.certificate)
            self._journal.show_metrics(values.metrics_address)
            self._show_pulls(values)
            if values == self._settings:
                return
            endpoints = endpoint.Endpoints(
                values, self._journal, self._own_requests, self._hosts
            )
        except exceptions.OptionsError as error:
            if self._settings:
                raise
            # At the start an error in the log ends mitmproxy; without a traceback.
            logger.error("%s", error)  # noqa: TRY400
            return
        # What was in use goes on for the requests that still use it.
        self._settings, self._endpoints = values, endpoints
        self._connections.limit(values.limits)
        self._stop.grant(values.grace_period)
        log_format.use_format(values.log_format)
        if values.show_secrets:
            logger.warning("%s", SECRETS_SHOWN)

    def running(self) -> None:
        """Say in one line what is served where."""
        self._is_running = True
        absence.end()
        self._couriers.begin()
        self._commands.bind_keys()
        log_level.spare_unread_lines()
        if not self._settings:
            return
        self._idle_options = idle.remove_idle_addons()
        self._own_requests.use(asyncio.get_running_loop())
        self._stop.install()
        self._certificate.watch()
        memory.keep_memory_trimmed()
        addresses = ctx.master.addons.get("proxyserver").listen_addrs()
        scheme = "https" if self._settings.serves_tls else "http"
        urls = dict.fromkeys(
            f"{scheme}://{format_host(*address[:2])}" for address in addresses
        )
        introduction = self._endpoints.naming.introduce(", ".join(urls))
        if public := self._settings.public_url:
            introduction += f"; clients are sent to {public} (PUBLIC_URL)"
        logger.log(log.ALERT, "%s", introduction)
        if folder := self._settings.cache_dir:
            size = describe_size(self._settings.cache_size)
            logger.log(log.ALERT, "blobs are kept in %s, up to %s", folder, size)
            disk = os.statvfs(folder)
            if (room := disk.f_blocks * disk.f_frsize) < self._settings.cache_size:
                logger.warning(
                    "the disk of the cache has %s, so old blobs go before there are %s;"
                    " set balena_cache_size (CACHE_SIZE) to less",
                    describe_size(room),
                    size,
                )
        if self._site:
            self._site.say()
            self._site.open_browser()
        self._announcement = asyncio.create_task(self._endpoints.announce())

    def done(self) -> None:
        """Let go of threads and connections; what is saved now has no secrets."""
        # Where this script is loaded anew, nobody would rewrite answers, nor keep time.
        self._connections.close()
        absence.begin()
        for flow, exchange in list(self._exchanges.items()):
            exchange.forget(flow)
        if self._announcement:
            self._announcement.cancel()
        self._certificate.stop()
        self._journal.close()
        if self._site:
            self._site.close()
        if self._settings:
            self._endpoints.close()

    def client_connected(self, client: mitmproxy_connection.Client) -> None:
        """Let the client in, if there is room."""
        if self._settings:
            speaks_tls = self._settings.serves_tls
            self._connections.admit(client, speaks_tls=speaks_tls)

    def client_disconnected(self, client: mitmproxy_connection.Client) -> None:
        """Let go of the client."""
        self._connections.forget(client)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Tell a client that there is no TLS, where that is so; and send a courier."""
        serves_tls = self._settings and self._settings.serves_tls
        if not serves_tls and plain.answer_hello(nextlayer):
            self._journal.note_handshake(Handshake(nextlayer.context.client))
        self._couriers.send_one(nextlayer)

    def tls_failed_client(self, data: tls.TlsData) -> None:
        """Take note of a client that may not trust the certificate of this proxy."""
        if self._settings:
            self._journal.note_handshake(Handshake.failed(data))

    async def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Connect to the registry, or to where a blob is stored."""
        if values := self._settings:
            checked = route.connect(
                data,
                values.registry.address,
                self._routes(data.client),
                follows=values.follows_redirects,
                proxies=values.proxies,
            )
            seconds, has_others = await route.choose_address(
                data, checked, self._hosts, values.limits.registry_seconds
            )
            if not data.server.error:
                self._connections.connect(data, seconds, has_others=has_others)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Listen to the registry, or to the storage, with a limit."""
        route.restore_name(data)
        if self._settings:
            is_cache = self._is_cache(data.server)
            seconds = CACHE_SECONDS if is_cache else None
            self._connections.connected(data, self._peer(data.server), seconds)

    def server_connect_error(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let go of a connection that did not come about."""
        address = route.restore_name(data)
        self._connections.not_connected(data)
        if address and data.client.timestamp_end is None:  # It was not the client.
            self._hosts.failed(*address)
            data.server.error = None  # With it mitmproxy would not connect any more.

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Log in at a proxy that is asked for a tunnel."""
        if self._settings:
            outgoing.log_in(flow, self._settings.proxies)

    def tls_failed_server(self, data: tls.TlsData) -> None:
        """Take note of the certificate that a server is not trusted with."""
        for flow in self._connections.flows_of(data.context.client):
            exchange = self._exchanges.get(flow)
            if exchange and exchange.record:
                exchange.record.certificate = symptom.certificate_of(data)

    def server_disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Let go of the registry."""
        self._connections.disconnected(data)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Take secrets out of the flow, and refuse bodies that nobody needs."""
        if not flow.live or own_request.is_own(flow):
            return
        if self._settings:
            replay.prepare(flow, self._settings.registry_url)
        self._connections.begin_request(flow)
        exchange = self._begin(flow)
        if not _is_open(flow):
            return
        request = flow.request
        try:
            inbound.check_body(request.method, request.path, exchange.headers)
        except errors.RequestError as error:
            self._connections.part(flow, error)
            client = flow.client_conn.peername
            logger.warning("%s: connection closed", error, extra={"client": client})

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer the request, or rewrite it for the registry."""
        if not flow.live or own_request.is_own(flow):
            return
        self._connections.complete_request(flow)
        if not _is_open(flow):
            return
        assert self._settings, "configure comes before every flow"  # noqa: S101
        exchange = self._exchanges.get(flow) or self._begin(flow)
        own_request.served.set(flow)
        with _Boundary(flow, exchange):
            exchange.take_body(flow.request)
            exchange.record = record.Record.of(
                flow, exchange.headers, trust_forwarded=self._settings.trust_forwarded
            )
            await self._endpoints.handle(flow, exchange, self._connections)
        exchange.name(flow)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Rewrite the head of the registry's answer, before it may be streamed."""
        exchange = self._exchanges.get(flow)
        if exchange is None or exchange.decision is None or flow.response is None:
            return
        exchange.forget(flow)  # The request was sent.
        if exchange.record:
            exchange.record.began(flow.response)
        with _Boundary(flow, exchange):
            self._endpoints.rewrite_head(flow, flow.response, exchange)
        if exchange.has_failed:
            # mitmproxy will put the registry's body in the place of ours.
            exchange.keep_error(flow.response)
        is_streamed = bool(flow.response.stream)
        answering = self._connections.begin_answer(flow, is_streamed=is_streamed)
        if exchange.is_endless and answering:
            answering.give_up()
        if exchange.record:
            exchange.record.reader = answering
            exchange.record.is_endless = exchange.is_endless
            if is_streamed:
                self._journal.streamed(flow, exchange.record)
        exchange.name(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        """Rewrite what was not streamed, and close the record of the request."""
        exchange = self._exchanges.get(flow)
        if exchange is None or not (response := flow.response):
            return
        if exchange.record:
            exchange.record.content = response.raw_content or b""
        if exchange.decision and exchange.has_failed:
            response.raw_content = exchange.error_body
        elif exchange.decision:
            with _Boundary(flow, exchange):
                self._endpoints.rewrite_body(response, exchange)
            exchange.name(flow)
        exchange.withhold_login(flow)
        response.trailers = None  # Headers that come later, past `responseheaders`.
        try:
            if exchange.record:
                self._journal.answered(flow, exchange.record)
        finally:
            self._end(flow, exchange)

    def error(self, flow: http.HTTPFlow) -> None:
        """Close a flow that failed, perhaps before `request`."""
        exchange = self._exchanges.get(flow)
        if exchange is None:
            return
        if exchange.is_answered(flow):
            flow.error = None
            self.response(flow)
            return
        error_page.prepare_page(
            flow,
            request_id=exchange.record.request_id if exchange.record else "",
            is_led_away=exchange.route is not None,
        )
        reason = redaction.without_bytes(flow.error.msg if flow.error else "unknown")
        reason = outgoing.explain(reason.removeprefix(route.REFUSED), exchange)
        if flow.error:
            flow.error.msg = reason
        try:
            if exchange.record:
                exchange.record.is_slow = self._connections.is_slow(flow)
                self._journal.broken(flow, exchange.record, reason)
            else:
                words.tell_unread(flow, reason)
        finally:
            exchange.forget(flow)
            self._end(flow, exchange)

    def current_endpoints(self) -> endpoint.Endpoints:
        """Return what answers requests.

        Raises:
            CommandError: the options do not say yet which registry is fronted.

        """
        if not self._settings:
            raise exceptions.CommandError(
                "no registry is fronted: the options have an error, see the log"
            )
        return self._endpoints

    def _show_pulls(self, values: settings.Settings) -> None:
        """Show pulls where somebody wants that; else nothing is loaded or kept."""
        is_wanted = values.pulls_address is not None or hasattr(ctx.master, "app")
        if is_wanted and self._site is None:
            self._site = importlib.import_module("live.site").Site()
        if self._site:
            self._site.show(values.pulls_address, values.pulls_token)
        audience = self._site.board if self._site and is_wanted else None
        self._journal.seat(audience)
        self._own_requests.seat(audience)

    def find_pull(self, flow_id: str) -> str:
        """Return the address of a flow's pull on the page of pulls.

        Raises:
            CommandError: there is no such page, or no such pull on it.

        """
        if not (self._site and self._site.url):
            raise exceptions.CommandError(
                "there is no page of pulls: start mitmweb with make web, or set"
                " PULLS_PORT"
            )
        if (card := self._site.board.find(flow_id)) is None:
            raise exceptions.CommandError("this flow is part of no pull that is kept")
        return f"{self._site.url}#pull-{card.id}"

    def link_pull(self, flow_id: str) -> str:
        """Return the same; nothing where there is no page or pull."""
        with suppress(exceptions.CommandError):
            return self.find_pull(flow_id)
        return ""

    def _may_ask_again(self, flow: http.HTTPFlow) -> bool:
        """Return whether a request without an answer is asked once more, and say so."""
        exchange = self._exchanges.get(flow)
        if not (exchange and exchange.decision and exchange.record):
            return False
        if not self._connections.may_ask_again(flow):
            return False
        logger.info(
            "the %s closed or refused a connection: asked again on a new one",
            words.server(exchange.record),
            extra={"client": flow.client_conn.peername},
        )
        return True

    def _forward(
        self, flow: http.HTTPFlow, carrier: mitmproxy_connection.Server
    ) -> None:
        """Wait for the answer to a request that has a connection."""
        is_tunnel = carrier is not flow.server_conn
        peer = self._peer(flow.server_conn) if is_tunnel else ""
        reader = self._connections.forward_request(flow, carrier, peer)
        if (exchange := self._exchanges.get(flow)) and exchange.record:
            exchange.record.reader = reader

    def _peer(self, server: mitmproxy_connection.Server) -> str:
        """Return in words who is at the other end."""
        assert self._settings, "configure comes before every flow"  # noqa: S101
        if proxy := self._settings.proxies.at(server.address):
            return proxy.name
        if self._is_cache(server):
            return "the cache of blobs"
        return route.peer_of(server, self._settings.registry.address)

    def _is_cache(self, server: mitmproxy_connection.Server) -> bool:
        """Return whether this process itself is at the other end, with its cache."""
        return server.address is not None and (
            server.address == self._endpoints.cache_address
        )

    def _begin(self, flow: http.HTTPFlow) -> Exchange:
        exchange = self._exchanges[flow] = Exchange.begin(flow)
        return exchange

    def _end(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Let go of a flow; what is still to be sent is the courier's."""
        self._connections.end_answer(flow)
        if not exchange.shows_secrets:
            secret.forget(flow.request)
        if not exchange.secrets:
            del self._exchanges[flow]

    def _routes(self, client: mitmproxy_connection.Client) -> Iterator[Route]:
        """Return where the blobs are that the client waits for."""
        for flow in self._connections.flows_of(client):
            if (exchange := self._exchanges.get(flow)) and exchange.route:
                yield exchange.route


class _Boundary:
    """Turns every error into an answer: the one place where all are caught."""

    def __init__(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        self._flow, self._exchange = flow, exchange

    def __enter__(self) -> None:
        """Watch over what is decided about the flow."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """Answer with the error, if there is one; our own bugs with a traceback."""
        if isinstance(error, errors.RegistryError):
            _fail(self._flow, self._exchange, error)
        elif isinstance(error, Exception):
            logger.error("a bug of this proxy", exc_info=error)
            _fail(self._flow, self._exchange, errors.InternalError(BUG))
        else:
            return False
        return True


def _fail(flow: http.HTTPFlow, exchange: Exchange, error: errors.RegistryError) -> None:
    if exchange.record:
        exchange.record.failed(error)
    reply.fail(flow, error, exchange.record.request_id if exchange.record else "")


def _is_open(flow: http.HTTPFlow) -> bool:
    """Return whether the flow still waits for somebody to answer it."""
    return flow.live and flow.response is None and flow.error is None


proxy = RegistryProxy()
addons = [proxy]
