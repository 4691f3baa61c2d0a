"""Where a connection goes: to the registry, or to the storage of a blob.

mitmproxy finds a connection that is kept by the host that a request names, so that is
the storage's name. It goes to the address that was checked, which is put in the place
of the name for as long as mitmproxy connects.
"""

from collections.abc import Iterable

from mitmproxy.proxy import server_hooks

from resolver.storage.redirect import Route

type Address = tuple[str, int]


def connect(
    data: server_hooks.ServerConnectionHookData,
    registry: Address,
    routes: Iterable[Route],
    *,
    follows: bool,
) -> None:
    """Name the server in the TLS handshake, not what the client called us.

    Where blobs are followed, a connection to anywhere else than was said does not
    come about.

    Args:
        data: the connection.
        registry: host and port of the registry.
        routes: where the blobs of this client are fetched.
        follows: whether redirects are followed at all.

    """
    server, name = data.server, data.server.address
    server.sni = registry[0]
    if name is None or name == registry:
        return
    for route in routes:
        if (route.destination.host, route.destination.port) == name:
            server.sni = route.destination.host
            # One version of HTTP, whatever the client speaks: a storage's answer is
            # the same in both, and one of them is well tried.
            server.alpn_offers = [b"http/1.1"]
            if route.address:
                server.address = (route.address, name[1])
            return
    if follows:
        server.error = "no blob is stored there"


def restore_name(data: server_hooks.ServerConnectionHookData) -> None:
    """Put the name back in the place of the address, whatever came of it.

    mitmproxy lets no address change while a connection is open, so this goes past its
    check: the one write that it does not offer. A kept connection is found by the name
    alone, and a test of pulls on one connection fails where this no longer works.
    """
    server = data.server
    if (
        server.address
        and isinstance(server.sni, str)
        and server.sni != server.address[0]
    ):
        vars(server)["address"] = (server.sni, server.address[1])
