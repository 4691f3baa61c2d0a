"""The answer to a client that begins a TLS handshake where there is no TLS.

Where the port speaks plain HTTP alone, it gets an HTTP answer in place of a handshake,
as from servers that have no TLS: docker, BuildKit and containerd try TLS first, and go
on with plain HTTP where they see one.
"""

from mitmproxy.proxy import commands, events, layer

from mitm import reply
from mitm.guard.hello import HANDSHAKE
from resolver import errors

MESSAGE = (
    "this port speaks plain HTTP: use http://, or have the operator of the registry"
    " proxy set TLS=authority or TLS_CERT, with which it speaks TLS"
)


def answer_hello(nextlayer: layer.NextLayer) -> bool:
    """Answer a client that begins a TLS handshake, and say whether this one does."""
    begins = nextlayer.layer is None and nextlayer.data_client().startswith(HANDSHAKE)
    if begins:
        nextlayer.layer = PlainAnswer(nextlayer.context)
    return begins


class PlainAnswer(layer.Layer):
    """Says once that this is plain HTTP, and reads on until the client has gone.

    Closed with something unread, a connection is reset, and its client may lose the
    answer. How long is read, and how much, is limited by the connection's reader.
    """

    is_answered = False

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Answer the first bytes."""
        if isinstance(event, events.DataReceived) and not self.is_answered:
            self.is_answered = True
            client = self.context.client
            # Without this very status line docker fails.
            page = reply.last_page(errors.RequestInvalid(MESSAGE), reason="Bad Request")
            yield commands.SendData(client, page)
            yield commands.CloseTcpConnection(client, half_close=True)
