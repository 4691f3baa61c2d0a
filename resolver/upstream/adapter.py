"""The connections that requests makes: to which address, and whom they trust."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from socket import socket
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakSet

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from resolver.grammar.url import USUAL_PORTS
from resolver.upstream.host import Hosts
from resolver.upstream.stream import pools

type AddressOf = Callable[[str, int], str]
"""Says at which address a host is reached, or raises an OSError."""


class Adapter(HTTPAdapter):
    """Connects to the addresses that it is told, and trusts two sets of authorities."""

    def __init__(
        self,
        connections: int,
        sockets: WeakSet[socket],
        ca_folder: str | None,
        hosts: Hosts,
        address_of: AddressOf,
    ) -> None:
        """Keep so many connections to one server, and add their sockets to a set."""
        self._ca_folder = ca_folder
        self._hosts = hosts
        self._address_of = address_of
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        super().__init__(pool_connections=connections, pool_maxsize=connections)
        self.poolmanager.pool_classes_by_scheme = pools(sockets)

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send a request, and let its next try go to another address if need be."""
        try:
            return super().send(request, *args, **options)
        except requests.ConnectionError as error:
            failure = error.args[0] if error.args else None
            if isinstance(failure, MaxRetryError) and isinstance(
                failure.reason, (ConnectTimeoutError, NewConnectionError)
            ):
                place: Any = failure.pool
                self._hosts.failed(place.host, place.port)
            raise

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Return where a request's connection goes, and how its server is verified.

        The connection goes to the address that was chosen; the name stays in the
        ``Host`` header, in the TLS handshake and in what the certificate has to say.

        Raises:
            requests.ConnectionError: there is no address.

        """
        attributes: Any = super().build_connection_pool_key_attributes(
            request, verify, cert
        )
        place, tls = attributes
        scheme, name = place["scheme"], place["host"]
        if scheme == "https":
            tls = {"ssl_context": self._context(verify), "cert_reqs": tls["cert_reqs"]}
        port = place["port"] or USUAL_PORTS[scheme]
        try:
            address = self._address_of(name, port)
        except OSError as error:
            raise requests.ConnectionError(error, request=request) from error
        if address != name:
            place["host"] = address
            request.headers["Host"] = urlsplit(str(request.url)).netloc
            if scheme == "https":
                tls["server_hostname"] = name
        return place, tls

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave authorities to the context, which has them already."""

    def _context(self, verify: Any) -> ssl.SSLContext:
        """Return how servers are verified.

        One for all connections: to read the authorities takes forty milliseconds and
        most of a megabyte.
        """
        with self._lock:
            if self._tls is None:
                self._tls = _tls_context(verify, self._ca_folder)
            return self._tls


def _tls_context(verify: Any, ca_folder: str | None) -> ssl.SSLContext:
    """Return how servers are verified.

    Args:
        verify: whether they are, or a file or folder of authorities.
        ca_folder: of more authorities; requests knows one of the two alone.

    """
    if not verify:
        return create_urllib3_context(cert_reqs=ssl.CERT_NONE)
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    path = DEFAULT_CA_BUNDLE_PATH if verify is True else verify
    if Path(path).is_dir():
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    if ca_folder:
        context.load_verify_locations(capath=ca_folder)
    return context
