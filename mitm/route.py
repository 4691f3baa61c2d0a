"""Decides where a connection goes: to the registry, or where a blob was led to.

mitmproxy finds a connection that is kept by the host that a request names, so that is
the storage's name. It goes to the address that was checked, which is put in the place
of the name for as long as mitmproxy connects.
"""

from weakref import WeakKeyDictionary

from mitmproxy import connection
from mitmproxy.proxy import server_hooks

from mitm.guard.reader import REGISTRY, STORAGE
from resolver.storage.redirect import Route

type Address = tuple[str, int]


class Routes:
    """Where the blobs of each client come from."""

    def __init__(self) -> None:
        self._routes: WeakKeyDictionary[connection.Client, dict[Address, Route]] = (
            WeakKeyDictionary()
        )
        self._names: WeakKeyDictionary[connection.Server, Address] = WeakKeyDictionary()

    def lead(self, client: connection.Client, route: Route) -> None:
        """Let the client's next request go there."""
        destination = route.destination
        routes = self._routes.setdefault(client, {})
        routes[destination.host, destination.port] = route

    def connect(
        self,
        data: server_hooks.ServerConnectionHookData,
        registry: Address,
        *,
        follows: bool,
    ) -> None:
        """Name the server in the TLS handshake, not what the client called us.

        Where blobs are followed, a connection to anywhere else than was said does not
        come about.
        """
        server, name = data.server, data.server.address
        server.sni = registry[0]
        if name is None or name == registry:
            return
        route = self._routes.get(data.client, {}).get(name)
        if route is None:
            if follows:
                server.error = "no blob is stored there"
            return
        server.sni = route.destination.host
        # One version of HTTP, whatever the client speaks: what is sent in the other
        # one is shown (see `mitm.signed`).
        server.alpn_offers = [b"http/1.1"]
        self._names[server] = name
        if route.address:
            server.address = (route.address, name[1])

    def connected(self, data: server_hooks.ServerConnectionHookData) -> str:
        """Put the name back, whatever came of it; return whose connection it is."""
        name = self._names.pop(data.server, None)
        if name is None:
            return REGISTRY
        # mitmproxy lets no address change while a connection is open.
        vars(data.server)["address"] = name
        return STORAGE
