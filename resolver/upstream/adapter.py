"""The connections that requests makes: to which address, and whom they trust."""

from collections.abc import Callable
from socket import socket
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from resolver.upstream.stream import pools

type AddressOf = Callable[[str, int], str | None]
"""Says at which address a host is reached; None where any of its own will do."""

_USUAL_PORTS = {"http": 80, "https": 443}


class Adapter(HTTPAdapter):
    """Connects to the addresses that it is told, and trusts two sets of authorities."""

    def __init__(
        self,
        connections: int,
        sockets: WeakSet[socket],
        ca_folder: str | None,
        address_of: AddressOf | None,
    ) -> None:
        """Keep so many connections to one server, and add their sockets to a set."""
        self._ca_folder = ca_folder
        self._address_of = address_of
        super().__init__(pool_connections=connections, pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = pools(sockets)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Return where a request's connection goes, and how its server is verified.

        The connection goes to the address that was checked; the name stays in the
        ``Host`` header, in the TLS handshake and in what the certificate has to say.
        """
        attributes: Any = super().build_connection_pool_key_attributes(
            request, verify, cert
        )
        place, tls = attributes
        if verify and self._ca_folder:
            # Beside the file, which is all that requests knows where there are both.
            tls["ca_cert_dir"] = self._ca_folder
        scheme, name = place["scheme"], place["host"]
        port = place["port"] or _USUAL_PORTS[scheme]
        address = self._address_of(name, port) if self._address_of else None
        if address:
            place["host"] = address
            request.headers["Host"] = urlsplit(str(request.url)).netloc
            if scheme == "https":
                tls["server_hostname"] = name
        return place, tls
