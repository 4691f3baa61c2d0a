"""Where a connection goes: to the registry, or to the storage of a blob.

mitmproxy finds a connection that is kept by the host that a request names, so that is
the name. It goes to one address of the host, which is put in the place of the name for
as long as mitmproxy connects: by itself it would look names up six at a time, and try
their addresses one after the other, each for as long as the system does.
"""

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Future

from mitmproxy import connection
from mitmproxy.proxy import server_hooks

from mitm.guard.connection import TOOK_TOO_LONG
from resolver.storage.redirect import Route
from resolver.storage.url import Url
from resolver.upstream.host import CONNECT_SECONDS, Hosts, unanswered
from resolver.upstream.outgoing import NONE, Proxies

REFUSED = "Connection killed: "
"""What mitmproxy puts before the reason why a connection did not come about."""

type Address = tuple[str, int]


def connect(
    data: server_hooks.ServerConnectionHookData,
    registry: Address,
    routes: Iterable[Route],
    *,
    follows: bool,
    proxies: Proxies = NONE,
) -> Sequence[str]:
    """Name the server in the TLS handshake, not what the client called us.

    Where blobs are followed, a connection to anywhere else than was said does not
    come about.

    Args:
        data: the connection.
        registry: host and port of the registry.
        routes: where the blobs of this client are fetched.
        follows: whether redirects are followed at all.
        proxies: those that go for others, and look their names up.

    Returns:
        The addresses that were checked, where there are such.

    """
    server, name = data.server, data.server.address
    server.sni = registry[0]
    if name is None or name == registry:
        return ()
    if proxy := proxies.at(name):
        server.sni = proxy.host
        return ()
    for route in routes:
        if (route.destination.host, route.destination.port) == name:
            server.sni = route.destination.host
            # One version of HTTP, whatever the client speaks: a storage's answer is
            # the same in both, and one of them is well tried.
            server.alpn_offers = [b"http/1.1"]
            if not route.addresses:
                server.error = "a proxy goes for it"
            return route.addresses
    if follows:
        server.error = "no blob is stored there"
    return ()


async def choose_address(
    data: server_hooks.ServerConnectionHookData,
    addresses: Sequence[str],
    hosts: Hosts,
    seconds: float,
) -> tuple[float, bool]:
    """Put the address that is connected to in the place of the name.

    Where there is none, the connection does not come about.

    Args:
        data: the connection.
        addresses: those that were checked, or none where all of the host's will do.
        hosts: which of them work.
        seconds: for all until there is a connection.

    Returns:
        How long a connection to it may take, and whether another one could be tried.

    """
    server = data.server
    if server.error or server.address is None:
        return 0, False
    host, port = server.address
    # Whatever goes wrong in between, mitmproxy does not connect by the name.
    server.error = "no address was chosen"
    try:
        async with asyncio.timeout(seconds) as limit:
            if not addresses:
                addresses = await _result(hosts.look_up(host, port))
            address = await _result(hosts.choose(addresses, port))
    except OSError as error:
        late = TOOK_TOO_LONG if addresses else str(unanswered(host))
        server.error = str(error) or late
        return 0, False
    server.address, server.error = (address, port), None
    end = limit.when() or 0
    left = max(0, end - asyncio.get_running_loop().time())
    has_others = len(addresses) > 1
    return min(left, CONNECT_SECONDS) if has_others else left, has_others


async def _result[R](answer: Future[R]) -> R:
    """Wait for the answer of a thread; one that is there costs no turn of the loop."""
    return answer.result() if answer.done() else await asyncio.wrap_future(answer)


def peer_of(server: connection.Server, registry: Address) -> str:
    """Return who was connected to, for the log: with the port, unless it is usual."""
    address, scheme = server.address, "https" if server.tls else "http"
    kind = "registry" if address == registry else "storage"
    return f"the {kind} {Url(scheme, *address, '/').netloc if address else ''}".rstrip()


def restore_name(data: server_hooks.ServerConnectionHookData) -> Address | None:
    """Put the name back in the place of the address, whatever came of it.

    mitmproxy lets no address change while a connection is open, so this goes past its
    check: the one write that it does not offer. A kept connection is found by the name
    alone, and a test of pulls on one connection fails where this no longer works.

    Returns the address, if one stood there.
    """
    server = data.server
    if (
        server.address
        and isinstance(server.sni, str)
        and server.sni != server.address[0]
    ):
        address: Address = server.address[0], server.address[1]
        vars(server)["address"] = (server.sni, address[1])
        return address
    return None
