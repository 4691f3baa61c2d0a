"""The words for a server that gives no answer: for the log, and for clients."""

import re
import socket
import ssl
from http import HTTPStatus
from http.client import RemoteDisconnected
from urllib.parse import urlsplit

import requests

from resolver.errors import Reason, ServiceUnavailable
from resolver.grammar.reference import printable
from resolver.upstream.outgoing import Proxy

_CAUSES = (
    (ConnectionRefusedError, "it refuses the connection"),
    (RemoteDisconnected, "it closed the connection"),
    (ConnectionResetError, "it reset the connection"),
    (TimeoutError, "it takes too long"),
    (requests.Timeout, "it takes too long"),
)
"""The words for what is wrong most often."""
_NO_HOST = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5))
"""Of a look-up; what else goes wrong is the fault of DNS servers, or of the network."""
REASON_LENGTH_MAX = 80
_NO_TUNNEL = re.compile(r"Tunnel connection failed: (?P<status>\d{3}) ?(?P<reason>.*)")
"""What `http.client` says of a proxy that makes no connection."""


class TooLarge(requests.RequestException):
    """An answer is longer than any that makes sense."""


class ProxyFailed(requests.ConnectionError):
    """A proxy cannot be reached, or cannot reach the server; the next try may do."""


class ProxyRefused(requests.RequestException):
    """A proxy does not let us through."""


def origin(url: str) -> str:
    """Return scheme and host of the URL: as much of it as a log may show."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def blame_proxy(proxy: Proxy, error: Exception) -> requests.RequestException | None:
    """Return the error in words about the proxy, if it is the proxy's."""
    if match := _NO_TUNNEL.match(str(_bottom(error))):
        status = int(match["status"])
        text = proxy.refusal(status, printable(match["reason"])[:REASON_LENGTH_MAX])
        is_passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return ProxyFailed(text) if is_passing else ProxyRefused(text)
    if isinstance(error, requests.exceptions.ProxyError):
        return ProxyFailed(f"{proxy.name} does not answer: {cause(error)}")
    return None


def unreachable(
    url: str, error: Exception, proxy: Proxy | None = None
) -> ServiceUnavailable:
    """Return what the client is told; the log is told why."""
    unavailable = ServiceUnavailable.because(
        _reason(error, _bottom(error)),
        "the registry or a server behind it does not answer at the moment; try again"
        " later",
    )
    is_blamed = isinstance(error, (ProxyFailed, ProxyRefused))
    way = f", through {proxy.name}" if proxy and not is_blamed else ""
    unavailable.cause = f"{cause(error)}{way}"
    unavailable.blame(origin(url))
    return unavailable


def _bottom(error: BaseException) -> BaseException:
    """Return the exception that began it."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def cause(error: Exception) -> str:
    """Return why there is no answer, in words.

    Messages of the libraries contain the whole URL, and with it the location; the
    exception at the bottom has the reason alone. Of a URL that cannot be read it has
    all that there is, and so it is not asked.
    """
    if isinstance(error, (ProxyFailed, ProxyRefused)):
        return str(error)
    if isinstance(error, requests.exceptions.InvalidURL):
        return type(error).__name__
    if isinstance(error, requests.exceptions.InvalidHeader):
        # Its message has the header in it, and the one that varies is the login.
        return "InvalidHeader: the login has characters that no header can have"
    return _describe(error, _bottom(error))


def _describe(error: Exception, bottom: BaseException) -> str:
    """Return the words for what began it."""
    if isinstance(bottom, socket.gaierror):
        is_known = bottom.errno in _NO_HOST
        return "there is no such host" if is_known else "its name cannot be looked up"
    if isinstance(bottom, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {bottom.verify_message}"
    if usual := next((text for kind, text in _CAUSES if isinstance(bottom, kind)), ""):
        return usual
    return repr(error) if bottom is error else f"{type(bottom).__name__}: {bottom}"


def _reason(error: Exception, bottom: BaseException) -> Reason:
    if isinstance(error, requests.exceptions.SSLError):
        return Reason.TLS
    if isinstance(error, requests.Timeout) or isinstance(bottom, TimeoutError):
        return Reason.TIMEOUT
    if isinstance(error, TooLarge):
        return Reason.SENSELESS
    return Reason.CONNECTION
