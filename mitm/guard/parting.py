"""The layer that says something before a connection of a client is closed.

mitmproxy closes without a word where it has nothing to answer to: a head that never
ends, a request that was killed for its body. Whoever stands in front, nginx or HAProxy,
takes that for a failure of the proxy. This layer stands right above mitmproxy's HTTP
layer, so that what it sends is encrypted where there is TLS; where that layer closes
the connection and there is a farewell, it is sent first, and the client is heard out.
"""

from collections.abc import Callable

from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.layers.http import (  # type: ignore[attr-defined]
    HttpErrorHook,
    HttpLayer,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHook,
)

from mitm.guard.inbound import body_too_long
from mitm.guard.pace import Pace
from mitm.guard.reader import REQUEST_LENGTH_MAX, RequestReader
from mitm.reply import last_page
from resolver import errors

_HEAD_TOO_LONG = (
    f"request line and headers have more than {REQUEST_LENGTH_MAX} bytes; the longest"
    " that any client needs is a token of 8 kB"
)
_LAST = (HttpResponseHook, HttpErrorHook)
"""The hooks of a flow after which the rest of its answer is sent."""


class Parting(layer.Layer):
    """Handles what happens on a client's connection, by mitmproxy's HTTP layer."""

    def __init__(
        self, http_layer: HttpLayer, reader: RequestReader, pace: Pace
    ) -> None:
        super().__init__(http_layer.context)
        self.context.layers.remove(self)  # It speaks no protocol.
        self._http_layer = http_layer
        self._reader = reader
        self._pace = pace
        self._left = REQUEST_LENGTH_MAX
        self._method: str | None = None
        """That of the request whose head is there."""
        self._is_judging = False
        """Whether it is not known yet what the head is worth; that takes a moment."""
        self._is_answering = False
        """Whether it is there as a whole, and its answer is not."""
        self._has_parted = False

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Let mitmproxy handle the event, or tell it that the client is gone."""
        client = self.context.client
        if isinstance(event, events.ConnectionEvent) and event.connection is client:
            if self._has_parted:
                if isinstance(event, events.ConnectionClosed):
                    yield commands.CloseConnection(client)
                return
            if isinstance(event, events.DataReceived) and self._is_over(event):
                event = events.ConnectionClosed(client)
        hook = event.command if isinstance(event, events.HookCompleted) else None
        if isinstance(hook, HttpRequestHeadersHook):
            self._is_judging = False
        for command in self._http_layer.handle_event(event):
            if isinstance(command, commands.ConnectionCommand):
                yield from self._pass(command)
            else:
                self._follow(command)
                yield command
        if isinstance(hook, _LAST):
            self._is_answering = False
            self._method = None
            self._left = REQUEST_LENGTH_MAX

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Do what `handle_event` does, which the layers below may pause."""
        yield from self.handle_event(event)

    def _follow(self, command: commands.Command) -> None:
        """Take note of how far a request has come."""
        if isinstance(command, HttpRequestHeadersHook):
            self._method = command.flow.request.method
            self._is_judging = True
        elif isinstance(command, HttpRequestHook):
            self._is_answering = True
            self._left = REQUEST_LENGTH_MAX

    @property
    def _is_unread(self) -> bool:
        """Whether a request has begun of which mitmproxy cannot read the head.

        It says so by itself, and the client is to read that.
        """
        return self._method is None and self._left < REQUEST_LENGTH_MAX

    def _is_over(self, event: events.DataReceived) -> bool:
        """Return whether nothing more is taken from the client."""
        if self.context.client.alpn == b"h2":
            return False
        self._left -= len(event.data)
        if self._is_judging:
            return False
        if self._left < 0 and self._reader.farewell is None:
            self._reader.warn_of_length()
            self._reader.farewell = (
                errors.HeadTooLong(_HEAD_TOO_LONG)
                if self._method is None
                else body_too_long()
            )
        return self._reader.farewell is not None

    def _pass(
        self, command: commands.ConnectionCommand
    ) -> layer.CommandGenerator[None]:
        """Do to the client what mitmproxy wants to be done, or take leave of it."""
        client, farewell = self.context.client, self._reader.farewell
        if command.connection is not client:
            yield command
            return
        if self._has_parted:
            return
        if isinstance(command, commands.SendData):
            self._pace.sent += len(command.data)
        # An answer that is broken off is no place for another one.
        if (
            not isinstance(command, commands.CloseConnection)
            or self._is_answering
            or client.alpn == b"h2"
            or not (farewell or self._is_unread)
        ):
            yield command
            return
        self._has_parted = True
        if farewell:
            page = last_page(farewell, has_body=self._method != "HEAD")
            yield commands.SendData(client, page)
        if client.state & ConnectionState.CAN_READ:
            self._reader.linger()
            yield commands.CloseTcpConnection(client, half_close=True)
        else:
            yield command


def replace_http(
    top: layer.Layer, replace: Callable[[HttpLayer], layer.Layer]
) -> layer.Layer:
    """Return the layers with another one in the place of mitmproxy's for HTTP."""
    if isinstance(top, HttpLayer):
        return replace(top)
    above = top
    while isinstance(above, tunnel.TunnelLayer):
        below = above.child_layer
        if isinstance(below, HttpLayer):
            above.child_layer = replace(below)
        above = below
    return top
