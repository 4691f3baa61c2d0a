"""The layer that puts secrets into flows while they are sent (rule R15).

mitmproxy's layers are plain generators: what they do between two of their commands is
done without anything else of the process running in between. So a secret is in its
flow while the layers below handle what happened, which is when they send the flow, and
it is out again before any hook: whatever saves, exports or shows flows finds none.
"""

from collections.abc import Callable, MutableMapping
from weakref import WeakSet

from mitmproxy import connection, ctx, http
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (  # type: ignore[attr-defined]
    HttpErrorHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from mitm.exchange import Exchange
from mitm.guard.parting import replace_http
from mitm.retry import Judge, RetryingLayer, Witness

type Exchanges = MutableMapping[http.HTTPFlow, Exchange]
type Attend = Callable[[connection.Client, layer.Layer], layer.Layer]
"""What else stands between the layers of a client's connection."""

_SENT_AFTER = (HttpRequestHook, HttpResponseHeadersHook, HttpResponseHook)
"""The hooks of a flow after which a message is sent, at once or once connected."""
_LAST = (HttpResponseHook, HttpErrorHook)


class Couriers:
    """Gives each connection of a client its courier."""

    def __init__(
        self,
        exchanges: Exchanges,
        may_ask_again: Judge,
        connected: Witness,
        attend: Attend,
    ) -> None:
        self._exchanges = exchanges
        self._may_ask_again = may_ask_again
        self._connected = connected
        self._attend = attend
        self._served: WeakSet[connection.Client] = WeakSet()
        self._chooser: NextLayer | None = None

    def begin(self) -> None:
        """Ask mitmproxy's own addon for layers from now on, wherever that is."""
        self._chooser = ctx.master.addons.get("nextlayer") or self._chooser

    def send_one(self, nextlayer: layer.NextLayer) -> None:
        """Let a courier stand above all layers that mitmproxy chooses for a client."""
        client = nextlayer.context.client
        if nextlayer.layer or client in self._served:
            return
        if not self._chooser:
            self.begin()  # Clients can connect before mitmproxy says that it runs.
        if self._chooser:
            self._chooser.next_layer(nextlayer)
        if nextlayer.layer:
            self._served.add(client)
            top = replace_http(
                nextlayer.layer,
                lambda http_layer: RetryingLayer(
                    http_layer, self._may_ask_again, self._connected
                ),
            )
            nextlayer.layer = Courier(self._attend(client, top), self._exchanges)


class Courier(layer.Layer):
    """Handles what happens on a client's connection, by the layers below."""

    def __init__(self, child_layer: layer.Layer, exchanges: Exchanges) -> None:
        super().__init__(child_layer.context)
        self.context.layers.remove(self)  # It speaks no protocol.
        self._child_layer = child_layer
        self._exchanges = exchanges
        self._waiting: dict[http.HTTPFlow, Exchange] = {}
        """The flows that have secrets to be sent, and every hook before that."""
        self._sent: dict[http.HTTPFlow, Exchange] = {}
        """Those whose secrets were sent, and may have to be once more."""

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Let the layers below handle the event, with secrets in the flows."""
        hook = event.command if isinstance(event, events.HookCompleted) else None
        if isinstance(hook, _SENT_AFTER):
            exchange = self._exchanges.get(hook.flow)
            if exchange and exchange.secrets:
                self._waiting[hook.flow] = exchange
            else:
                self._waiting.pop(hook.flow, None)  # Through a tunnel it was not seen.
        if self._sent and isinstance(event, events.ConnectionClosed):
            self._wait_again(event.connection)
        if self._waiting:
            yield from self._carry(event)
        else:
            yield from self._child_layer.handle_event(event)
        if isinstance(hook, _LAST):
            self._waiting.pop(hook.flow, None)
            self._sent.pop(hook.flow, None)
            self._exchanges.pop(hook.flow, None)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Do what `handle_event` does, which the layers below may pause."""
        yield from self.handle_event(event)

    def _carry(self, event: events.Event) -> layer.CommandGenerator[None]:
        generator = self._child_layer.handle_event(event)
        while True:
            self._reveal()
            try:
                command = next(generator, None)
            finally:
                self._hide()
            if command is None:
                return
            if isinstance(command, commands.SendData):
                self._note_sent(command.connection)
            yield command

    def _note_sent(self, peer: connection.Connection) -> None:
        """Let go of the requests whose head went out to the peer, in one piece.

        In HTTP/2 it may be another piece; in TLS the handshake comes before.
        """
        is_ready = peer.tls_established or not peer.tls
        if peer is self.context.client or not is_ready or peer.alpn == b"h2":
            return
        for flow in [flow for flow in self._waiting if flow.server_conn is peer]:
            self._sent[flow] = self._waiting.pop(flow)

    def _wait_again(self, peer: connection.Connection) -> None:
        """Be ready for requests that are asked again, as the peer has gone."""
        for flow in [flow for flow in self._sent if flow.server_conn is peer]:
            self._waiting[flow] = self._sent.pop(flow)

    def _reveal(self) -> None:
        for flow, exchange in self._waiting.items():
            for secret in exchange.secrets:
                secret.reveal(flow)

    def _hide(self) -> None:
        for flow, exchange in self._waiting.items():
            for secret in exchange.secrets:
                secret.hide(flow)
