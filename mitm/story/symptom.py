"""How a connection of mitmproxy's failed: from its words to a name.

mitmproxy has no other form for it than the message of `flow.error`. These are the
messages of version 12; one that is not among them has no name, and nothing is said of
its cause.
"""

import errno
import re
import socket
from contextlib import suppress

from mitmproxy import tls

from cause.certificate import Certificate
from mitm.guard.connection import TOOK_TOO_LONG
from mitm.guard.http1 import CLOSED, NO_HTTP, TLS_ALERT
from mitm.story.record import Record
from resolver.symptom import Symptom
from resolver.upstream.failure import NO_ROUTE

_CERTIFICATE = "Certificate verify failed: "
_BEGINNINGS = (
    (TOOK_TOO_LONG, Symptom.NO_CONNECTION),
    ("Request destination unknown.", Symptom.ITSELF),
    (TLS_ALERT, Symptom.WANTS_TLS),
    (NO_HTTP, Symptom.NO_HTTP),
    ("The remote server does not speak TLS.", Symptom.PLAIN),
    ("The remote server and mitmproxy cannot agree", Symptom.NO_TLS),
    ("tlsv1 alert", Symptom.NO_TLS),
    ("sslv3 alert", Symptom.NO_TLS),
    ("ssl/tls alert", Symptom.NO_TLS),
)
"""How words begin that say it by themselves."""
_NO_HANDSHAKE = "connection closed"
"""How it begins where a handshake ends early: TLS's, or that of a proxy's tunnel."""
_CUT = "peer closed connection without sending complete message body"
"""What h11 says of it, behind words of mitmproxy's."""
_OPENSSL = re.compile(r"^OpenSSL .*'([^']+)'\)\]\)$")
_CUT_IN_HEAD = "unexpected server response"
_ERRNO = re.compile(r"(?:Multiple exceptions: )?\[Errno (-?\d+)\]")
"""Of a look-up it is negative (getaddrinfo(3))."""
_UNKNOWN = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)}
_NUMBERS = {
    **dict.fromkeys(NO_ROUTE, Symptom.NO_ROUTE),
    errno.ECONNREFUSED: Symptom.REFUSED,
    errno.ECONNRESET: Symptom.RESET,
    errno.ETIMEDOUT: Symptom.NO_CONNECTION,
}


def symptom_of(record: Record) -> tuple[Symptom | None, str]:
    """Return how the connection failed, and words about it."""
    failure = record.failure or ""
    if record.proxy and failure.startswith(f"{record.proxy} "):
        return Symptom.PROXY, failure
    failure = failure.removesuffix(f", through {record.proxy}")
    if failure.startswith(_CERTIFICATE):
        return Symptom.CERTIFICATE, failure.removeprefix(_CERTIFICATE)
    if match := _OPENSSL.search(failure):
        return Symptom.NO_TLS, match[1]
    if failure.startswith(_NO_HANDSHAKE) and not record.proxy:
        return Symptom.NO_TLS, failure
    found = (each for begin, each in _BEGINNINGS if failure.startswith(begin))
    return next(found, None) or _by_number(failure) or _by_end(record), failure


def certificate_of(data: tls.TlsData) -> Certificate | None:
    """Return the certificate that a server showed in a handshake that failed."""
    # Of one that was not verified, OpenSSL has the chain all the same.
    chain = data.ssl_conn.get_peer_cert_chain() if data.ssl_conn else None
    if chain:
        with suppress(ValueError):
            return Certificate.of(chain[0].to_cryptography())
    return None


def _by_number(failure: str) -> Symptom | None:
    match = _ERRNO.match(failure)
    number = int(match[1]) if match else 0
    if number < 0:
        return Symptom.NO_HOST if number in _UNKNOWN else Symptom.NO_NAME_SERVER
    return _NUMBERS.get(number)


def _by_end(record: Record) -> Symptom | None:
    """Return how a connection ended on which a request was sent."""
    failure, reader, has_begun = record.failure or "", record.reader, record.head
    if reader and reader.is_expired:
        return Symptom.STALLED if has_begun else Symptom.SILENT
    if _CUT in failure or failure.startswith(_CUT_IN_HEAD):
        return Symptom.CUT
    if has_begun:
        return None
    if reader and reader.is_reset:
        return Symptom.RESET
    return Symptom.CLOSED if failure.startswith(CLOSED) else None
