"""The connections that requests makes: where to, by which proxy, and trusting whom."""

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
from urllib3.poolmanager import ProxyManager
from urllib3.util.ssl_ import create_urllib3_context

from resolver.grammar.url import USUAL_PORTS
from resolver.upstream.failure import ProxyFailed, ProxyRefused, blame_proxy, cause
from resolver.upstream.host import Hosts
from resolver.upstream.outgoing import LOGIN_REFUSED, Proxies, Proxy
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
        proxies: Proxies,
        piece_seconds: float | None = None,
    ) -> None:
        """Keep so many connections to one server, and add their sockets to a set."""
        self._ca_folder = ca_folder
        self._hosts = hosts
        self._address_of = address_of
        self._proxies = proxies
        self._proxy_at: dict[str, Proxy] = {}
        """By the URLs that the library has of them, which say nothing of a login."""
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        super().__init__(pool_connections=connections, pool_maxsize=connections)
        self._pools = pools(sockets, piece_seconds)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        """Send a request, and let its next try go to another address if need be."""
        if proxy := self._proxies.find_for(str(request.url)):
            return self._send_by(proxy, request, *args, **options)
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

    def prepare(self, url: str, *, verify: bool | str, seconds: float) -> None:
        """Connect to a server that will be asked soon, unless a connection is kept.

        Where a proxy goes for it, nothing is done.

        Raises:
            requests.RequestException: there is no address.
            HTTPError: nobody takes a connection in that time.
            OSError: the server cannot be verified.

        """
        if self._proxies.find_for(url):
            return
        request = requests.Request("GET", url).prepare()
        pool: Any = self.get_connection_with_tls_context(request, verify)
        try:
            pool.prepare(seconds)
        except (ConnectTimeoutError, NewConnectionError):
            self._hosts.failed(pool.host, pool.port)
            raise

    def _send_by(
        self,
        proxy: Proxy,
        request: requests.PreparedRequest,
        *args: Any,
        **options: Any,
    ) -> requests.Response:
        """Send a request by a proxy, which looks the server's name up."""
        try:
            address = self._hosts.find(proxy.host, proxy.port)
        except OSError as error:
            raise ProxyFailed(
                f"{proxy.name} cannot be found: {cause(error)}"
            ) from error
        url = proxy.url_at(address)
        self._proxy_at[url] = proxy
        if proxy.scheme == "https":
            self._context(options["verify"])
        options["proxies"] = {"all": url}
        try:
            response = super().send(request, *args, **options)
        except requests.ConnectionError as error:
            if isinstance(error, requests.exceptions.ProxyError):
                self._hosts.failed(address, proxy.port)
            if blamed := blame_proxy(proxy, error):
                raise blamed from error
            raise
        if response.status_code == LOGIN_REFUSED:
            response.close()
            raise ProxyRefused(proxy.refusal(LOGIN_REFUSED, ""))
        return response

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        """Return what makes connections by the proxy at a URL."""
        manager: ProxyManager = super().proxy_manager_for(
            proxy,
            proxy_ssl_context=self._tls,
            proxy_assert_hostname=self._proxy_at[proxy].host,
            **options,
        )
        manager.pool_classes_by_scheme = self._pools
        return manager

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return what the proxy alone is told."""
        login = self._proxy_at[proxy].authorization
        return {"Proxy-Authorization": login} if login else {}

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
        if self._proxies.find_for(str(request.url)):
            return place, tls
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
