"""A patch of mitmproxy's connections: what they are read through.

mitmproxy has no hook for what comes from a connection, and no limits of its own. Its
server keeps reader and writer of each connection in `transports`, and takes the reader
from there when a connection begins; so it is replaced in the hook just before. Where
another version takes it from elsewhere, `tests/integration/test_load.py` fails.
"""

from mitmproxy import connection, ctx
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO

from mitm.guard.reader import LimitedReader


def find_transport(
    client: connection.Client, peer: connection.Connection
) -> ConnectionIO | None:
    """Return what a client, or a server for it, is read and written through."""
    server = ctx.master.addons.get("proxyserver")
    handler: ConnectionHandler | None = server.connections.get(client.id)
    return handler.transports.get(peer) if handler else None


def read_through(transport: ConnectionIO, reader: LimitedReader) -> None:
    """Let mitmproxy read through this reader from now on."""
    transport.reader = reader  # type: ignore[assignment]
