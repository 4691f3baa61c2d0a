"""A request is asked again on a new connection, with its login, and shows it never."""

from collections import deque
from collections.abc import Iterator

import pytest
from mitmproxy import connection, ctx, http
from mitmproxy.addons.export import Export
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.net.server_spec import ServerSpec
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers.http import (  # type: ignore[attr-defined]
    HttpErrorHook,
    HttpLayer,
    HTTPMode,
    HttpRequestHeadersHook,
    HttpResponseHeadersHook,
)
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import taddons, tflow

import addon
from mitm.courier import Couriers
from mitm.exchange import Exchange
from mitm.secret import Login
from tests.mitm.exposure import assert_hidden
from tests.mitm.sample import SIGNATURE
from tests.mitm.test_courier import SENT, SHOWN, Chooser

GET = b"GET /v2/ HTTP/1.1\r\nHost: proxy.example\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Wire:
    """What mitmproxy does around its layers, with connections of our own."""

    def __init__(self, *errors: str | None, via: ServerSpec | None = None) -> None:
        """Let connections come about, or fail, in this order."""
        self._errors = deque(errors)
        self._exchanges: dict[http.HTTPFlow, Exchange] = {}
        self.sent: list[tuple[connection.Connection, bytes]] = []
        self.failures: list[http.HTTPFlow] = []
        self.asked: list[http.HTTPFlow] = []
        self.carried: list[tuple[http.HTTPFlow, connection.Server]] = []
        """Requests that had a connection, and what carried it."""
        self.client = tflow.tclient_conn()
        self.client.proxy_mode = ProxyMode.parse("reverse:http://registry.test")
        self.client.state = connection.ConnectionState.OPEN
        self.client.tls = False
        self.client.alpn = None
        proxied = context.Context(self.client, ctx.options)
        proxied.server.address = ("registry.test", 80)
        proxied.server.via = via
        asking = layer.NextLayer(proxied)
        ctx.master.addons.add(Chooser(HttpLayer(proxied, HTTPMode.transparent)))
        couriers = Couriers(
            self._exchanges, self._judge, self._note, lambda _, top: top
        )
        couriers.begin()
        couriers.send_one(asking)
        assert asking.layer
        self._layer = asking.layer
        self.happen(events.Start())

    def _judge(self, flow: http.HTTPFlow) -> bool:
        self.asked.append(flow)
        return True

    def _note(self, flow: http.HTTPFlow, carrier: connection.Server) -> None:
        self.carried.append((flow, carrier))

    @property
    def registry(self) -> connection.Connection:
        """The connection on which something was sent to the registry last."""
        return [peer for peer, _ in self.sent if peer is not self.client][-1]

    @property
    def requests(self) -> list[bytes]:
        """What was sent to the registry."""
        return [data for peer, data in self.sent if peer is not self.client]

    def receive(self, peer: connection.Connection, data: bytes) -> None:
        """Let something come."""
        self.happen(events.DataReceived(peer, data))

    def close(self, peer: connection.Connection) -> None:
        """Let the peer close its connection."""
        peer.state = connection.ConnectionState.CAN_WRITE
        self.happen(events.ConnectionClosed(peer))

    def happen(self, event: events.Event) -> None:
        """Let the layers handle an event, and whatever follows from it."""
        due: deque[events.Event] = deque([event])
        while due:
            for command in self._layer.handle_event(due.popleft()):
                for flow in self._exchanges:
                    assert_hidden(flow)
                due.extend(self._do(command))

    def _do(self, command: commands.Command) -> Iterator[events.Event]:
        if isinstance(command, commands.SendData):
            self.sent.append((command.connection, command.data))
        elif isinstance(command, commands.CloseConnection):
            command.connection.state = connection.ConnectionState.CLOSED
        elif isinstance(command, commands.OpenConnection):
            error = self._errors.popleft()
            if error is None:
                command.connection.state = connection.ConnectionState.OPEN
            yield events.OpenConnectionCompleted(command, error)
        elif isinstance(command, commands.StartHook):
            self._hook(command)
            yield events.HookCompleted(command)

    def _hook(self, hook: commands.StartHook) -> None:
        """Do what the addon does."""
        if isinstance(hook, HttpRequestHeadersHook):
            hook.flow.request.headers["authorization"] = SHOWN
            exchange = self._exchanges[hook.flow] = Exchange("/v2/", {})
            exchange.secrets.append(Login(SENT, SHOWN))
        elif isinstance(hook, HttpResponseHeadersHook):
            self._exchanges[hook.flow].forget(hook.flow)
        elif isinstance(hook, HttpErrorHook):
            self.failures.append(hook.flow)
            self._exchanges[hook.flow].forget(hook.flow)


@pytest.fixture(autouse=True)
def options() -> Iterator[None]:
    """mitmproxy, with the addon's options."""
    with taddons.context(Proxyserver(), Export(), addon.RegistryProxy()):
        yield


def served(*errors: str | None) -> Wire:
    """Return a wire on which a request was answered, and another one was sent."""
    wire = Wire(None, *errors)
    wire.receive(wire.client, GET)
    wire.receive(wire.registry, OK)
    wire.receive(wire.client, GET)
    return wire


def test_second_try_has_the_login() -> None:
    """The same is sent on a new connection, with the secret that no hook sees."""
    wire = served(None)
    first = wire.registry
    wire.close(first)
    assert wire.registry is not first
    assert len(wire.requests) == 3
    assert len(set(wire.requests)) == 1
    assert SIGNATURE.encode() in wire.requests[2]
    wire.receive(wire.registry, OK)
    answers = b"".join(data for peer, data in wire.sent if peer is wire.client)
    assert answers == OK * 2
    assert not wire.failures


def test_second_try_is_the_last() -> None:
    """Where that breaks as well the client is told, and nothing is sent any more."""
    wire = served(None)
    wire.close(wire.registry)
    wire.close(wire.registry)
    assert (len(wire.requests), len(wire.failures)) == (3, 1)
    assert not wire.client.connected


@pytest.mark.parametrize(("errors", "sent"), [(["no", None], 1), (["no", "no"], 0)])
def test_connection_that_does_not_come_about(
    errors: list[str | None], sent: int
) -> None:
    """A connection to somewhere else may, and what was not sent is sent there."""
    wire = Wire(*errors)
    wire.receive(wire.client, GET)
    assert [SIGNATURE.encode() in request for request in wire.requests] == [True] * sent
    assert (len(wire.asked), len(wire.failures)) == (1, 1 - sent)


def test_post_is_not_asked_again() -> None:
    """What is no question may have been carried out."""
    wire = Wire(None, None)
    wire.receive(wire.client, GET)
    wire.receive(wire.registry, OK)
    wire.receive(wire.client, GET.replace(b"GET", b"PUT"))
    wire.close(wire.registry)
    assert (len(wire.requests), wire.asked) == (2, [])


def test_request_through_a_tunnel() -> None:
    """What carries its connection is told, and a tunnel that ended is made anew."""
    wire = Wire(None, None, via=("http", ("proxy.test", 3128)))
    wire.receive(wire.client, GET)
    assert wire.requests[-1].startswith(b"CONNECT registry.test:80 ")
    wire.receive(wire.registry, ESTABLISHED)
    assert SIGNATURE.encode() in wire.requests[-1]
    flow, carrier = wire.carried[-1]
    assert carrier is wire.registry
    assert flow.server_conn is not carrier
    wire.receive(carrier, OK)
    wire.receive(wire.client, GET)
    assert [peer for _, peer in wire.carried] == [carrier] * 2
    wire.close(carrier)
    other = wire.registry
    assert other is not carrier
    wire.receive(other, ESTABLISHED)
    assert wire.carried[-1][1] is other
    wire.receive(other, OK)
    answers = b"".join(data for peer, data in wire.sent if peer is wire.client)
    assert answers == OK * 2
    assert not wire.failures
