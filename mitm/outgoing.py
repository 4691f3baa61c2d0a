"""Requests that go to registry or storage by a forward proxy.

What is encrypted goes through a tunnel, which mitmproxy makes for a connection that is
`via` a proxy. What is not is sent to the proxy itself, with the whole URL in its first
line (RFC 9112 section 3.2.2), as every proxy takes it. The flow shows neither.
"""

import re
from dataclasses import dataclass, field
from http import HTTPStatus

from mitmproxy import connection, http

from mitm.exchange import Exchange
from mitm.secret import Secret
from resolver import errors
from resolver.grammar.reference import printable
from resolver.upstream.outgoing import Proxies, Proxy

LOGIN = "Proxy-Authorization"
_NO_TUNNEL = re.compile(
    r"Upstream proxy .+ refused HTTP CONNECT request: (?P<status>\d{3}) ?(?P<reason>.*)"
)
"""What mitmproxy says of a proxy that makes no connection."""

type _Parts = tuple[str, int, bytes, bytes, tuple[tuple[bytes, bytes], ...]]


@dataclass(slots=True)
class AbsoluteForm(Secret):
    """The form of a request that the proxy understands, and its login."""

    sent: str = field(default="", repr=False)
    shown: str = ""
    proxy: Proxy = field(kw_only=True)
    _parts: _Parts | None = field(default=None, init=False, repr=False)
    """Those of the request, while others are in their place."""

    def reveal(self, flow: http.HTTPFlow) -> None:
        """Put what is sent into the flow."""
        if self._parts:
            return
        request, data = flow.request, flow.request.data
        self._parts = (
            *(data.host, data.port, data.authority, data.http_version),
            request.headers.fields,
        )
        authority = request.host_header or ""
        data.host, data.port = self.proxy.address
        data.authority, data.http_version = authority.encode(), b"HTTP/1.1"
        request.headers["Host"] = authority
        if self.proxy.authorization:
            request.headers[LOGIN] = self.proxy.authorization

    def hide(self, flow: http.HTTPFlow) -> None:
        """Put what is shown in its place."""
        if self._parts:
            data = flow.request.data
            data.host, data.port, data.authority, data.http_version, *_ = self._parts
            flow.request.headers.fields = self._parts[-1]
            self._parts = None

    def _replace(self, flow: http.HTTPFlow, old: str, new: str) -> None:
        """Do nothing: more than a text is put in the place of another."""


def lead(flow: http.HTTPFlow, exchange: Exchange, proxies: Proxies) -> None:
    """Let a request go by the proxy that goes for its host, if one does."""
    request, server = flow.request, flow.server_conn
    here = request.host, request.port
    exchange.proxy = proxy = proxies.find(request.scheme, *here)
    if proxy and exchange.record:
        exchange.record.proxy = proxy.name
    is_tunnel = proxy and "https" in (request.scheme, proxy.scheme)
    via = (proxy.scheme, proxy.address) if proxy and is_tunnel else None
    if proxy and not is_tunnel:
        exchange.send_first(flow, AbsoluteForm(proxy=proxy))
    if server.via == via:
        return
    if server.address == here:
        # mitmproxy takes it from there for the connection that it makes.
        server.sni = request.host
    # That one is the client's, for all of its requests.
    flow.server_conn = connection.Server(address=here, via=via)


def log_in(flow: http.HTTPFlow, proxies: Proxies) -> None:
    """Add the login to a request for a tunnel, which nobody else gets to see."""
    proxy = proxies.at(flow.server_conn.address)
    if proxy and proxy.authorization:
        flow.request.headers[LOGIN] = proxy.authorization


def check_head(response: http.Response, exchange: Exchange) -> None:
    """See that the answer is none of the proxy's, about our login.

    Raises:
        ServiceUnavailable: it is.

    """
    status = HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    if exchange.proxy and response.status_code == status:
        error = errors.ServiceUnavailable.because(
            errors.Reason.CONNECTION,
            "the registry behind this proxy does not answer at the moment; try again"
            " later",
        )
        error.cause = exchange.proxy.refusal(status, "")
        raise error


def explain(failure: str, exchange: Exchange) -> str:
    """Return why there is no answer, with the proxy in it if one was asked."""
    if exchange.proxy is None:
        return failure
    if match := _NO_TUNNEL.fullmatch(failure):
        reason = printable(match["reason"])
        return exchange.proxy.refusal(int(match["status"]), reason)
    return f"{failure}, through {exchange.proxy.name}"
