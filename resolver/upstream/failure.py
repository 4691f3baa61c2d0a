"""The words for a server that gives no answer: for the log, and for clients."""

import errno
import re
import socket
import ssl
from http import HTTPStatus
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import IncompleteRead as Urllib3IncompleteRead

from resolver.errors import Reason, ServiceUnavailable
from resolver.grammar.reference import printable
from resolver.symptom import Seen, Symptom
from resolver.upstream.outgoing import Proxy

_CAUSES = (
    (ConnectionRefusedError, "it refuses the connection"),
    (RemoteDisconnected, "it closed the connection"),
    (ConnectionResetError, "it reset the connection"),
    (TimeoutError, "it takes too long"),
    (requests.Timeout, "it takes too long"),
)
"""The words for what is wrong most often."""
_SYMPTOMS: tuple[tuple[type[BaseException], Symptom], ...] = (
    (requests.ConnectTimeout, Symptom.NO_CONNECTION),
    (requests.Timeout, Symptom.SILENT),
    (UnicodeError, Symptom.NO_HOST),
    (ConnectionRefusedError, Symptom.REFUSED),
    (RemoteDisconnected, Symptom.CLOSED),  # Which is a reset as well.
    (ConnectionResetError, Symptom.RESET),
    (BrokenPipeError, Symptom.RESET),
    (TimeoutError, Symptom.SILENT),
    (IncompleteRead, Symptom.CUT),
    (Urllib3IncompleteRead, Symptom.CUT),
    (BadStatusLine, Symptom.NO_HTTP),
)
_BEGIN = "HTTP"
NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
NO_TLS_AT_ALL = frozenset(
    {
        *("WRONG_VERSION_NUMBER", "HTTP_REQUEST"),
        *("PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"),
    }
)
"""What OpenSSL says of an answer that is no TLS (ERR_reason_error_string(3))."""
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
    unavailable.seen = _seen(error, proxy)
    unavailable.blame(origin(url))
    return unavailable


def _bottom(error: BaseException) -> BaseException:
    """Return the exception that began it."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def symptom_of(error: BaseException) -> Symptom | None:
    """Return how a request failed, where that has a name."""
    bottom = _bottom(error)
    if isinstance(bottom, socket.gaierror):
        is_known = bottom.errno in _NO_HOST
        return Symptom.NO_HOST if is_known else Symptom.NO_NAME_SERVER
    if isinstance(bottom, ssl.SSLError):
        return _of_handshake(bottom)
    if isinstance(bottom, OSError) and bottom.errno in NO_ROUTE:
        return Symptom.NO_ROUTE
    if isinstance(bottom, BadStatusLine) and str(bottom).startswith(_BEGIN):
        return None  # It may be one that is cut off, or of a status that is none.
    # The library's own say more of a time that is over than what they began with.
    both = ((each, pair) for each in (error, bottom) for pair in _SYMPTOMS)
    return next((name for each, (kind, name) in both if isinstance(each, kind)), None)


def _of_handshake(error: ssl.SSLError) -> Symptom:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Symptom.CERTIFICATE
    return Symptom.PLAIN if error.reason in NO_TLS_AT_ALL else Symptom.NO_TLS


def _seen(error: Exception, proxy: Proxy | None) -> Seen:
    """Return what an error tells of the connection."""
    place = proxy.name if proxy else ""
    if isinstance(error, (ProxyFailed, ProxyRefused)):
        return Seen(Symptom.PROXY, str(error), place)
    bottom, words = _bottom(error), cause(error)
    if isinstance(bottom, ssl.SSLCertVerificationError):
        words = bottom.verify_message
    return Seen(symptom_of(error), words, place)


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
    if isinstance(bottom, ssl.SSLError) and bottom.reason in NO_TLS_AT_ALL:
        return "it speaks plain HTTP, but was addressed with TLS"
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
