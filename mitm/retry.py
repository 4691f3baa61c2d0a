"""A request that is asked again on another connection, because the first one had none.

A server may close a connection that is kept just when a request is on its way to it, so
clients of HTTP ask again by themselves (RFC 9110 section 9.2.2). mitmproxy gives up
instead, and has no hook for it. Its layer makes an object for each request, and here
that is one which asks once more: `handle_protocol_error` is what mitmproxy calls where
there is no answer. Where another version does not, `tests/mitm/test_retry.py` fails.
"""

from collections.abc import Callable

from mitmproxy import connection, http
from mitmproxy.proxy import context, events, layer, tunnel
from mitmproxy.proxy.layers.http import (  # type: ignore[attr-defined]
    ErrorCode,
    HttpLayer,
    HttpStream,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
    SendHttp,
)

from mitm.guard.http1 import CLOSED

type Judge = Callable[[http.HTTPFlow], bool]
"""Says whether another connection may have the answer that there is not."""

type Witness = Callable[[http.HTTPFlow, connection.Server], None]
"""Is told of each request that has a connection, with what carries that one."""

METHODS = ("GET", "HEAD")


class RetryingLayer(HttpLayer):
    """mitmproxy's layer for HTTP, whose requests may be asked again."""

    def __init__(
        self, http_layer: HttpLayer, may_ask_again: Judge, connected: Witness
    ) -> None:
        """Take the place of one in which nothing happened yet."""
        http_layer.context.layers.remove(http_layer)
        super().__init__(http_layer.context, http_layer.mode)
        self.may_ask_again = may_ask_again
        self._connected = connected

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Make what handles a request and its answer."""
        stream = RetryingStream(self.context.fork(), stream_id, self)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def tell(self, flow: http.HTTPFlow) -> None:
        """Tell of a request that has a connection.

        One that is via a proxy is carried by another one, to the proxy.
        """
        carrier = flow.server_conn
        outermost = self.connections.get(carrier) if carrier.via else None
        if isinstance(outermost, tunnel.TunnelLayer):
            end = outermost.tunnel_connection
            carrier = end if isinstance(end, connection.Server) else carrier
        self._connected(flow, carrier)


class RetryingStream(HttpStream):
    """A request and its answer; where there is none, the request is made once more."""

    def __init__(
        self, proxied: context.Context, stream_id: int, parent: RetryingLayer
    ) -> None:
        super().__init__(proxied, stream_id)
        self._parent = parent
        self._is_second = False

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Find a connection, or make one, and tell of it."""
        is_made = yield from super().make_server_connection()
        if is_made:
            self._parent.tell(self.flow)
        return is_made

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Ask again, or give up."""
        if not (self._is_unanswered(event) and self._parent.may_ask_again(self.flow)):
            yield from super().handle_protocol_error(event)
            return
        self._is_second = True
        if (yield from self.make_server_connection()):
            server, request = self.context.server, self.flow.request
            head = RequestHeaders(self.stream_id, request, end_stream=True)
            yield SendHttp(head, server)
            yield SendHttp(RequestEndOfMessage(self.stream_id), server)

    def _is_unanswered(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> bool:
        """Return whether a whole request, sent or not, had not a byte of an answer."""
        return (
            isinstance(event, ResponseProtocolError)
            and (event.code is ErrorCode.CONNECT_FAILED or event.message == CLOSED)
            and self.client_state == self.state_done
            and self.server_state == self.state_wait_for_response_headers
            and not self._is_second
            and self.flow.error is None
            and self.flow.request.method in METHODS
            and not self.flow.request.raw_content
        )
