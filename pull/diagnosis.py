"""Connections that fail: which cause, which sentence, which next step."""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

import requests
from cryptography import x509
from urllib3.exceptions import HTTPError, ReadTimeoutError

from cause import connection
from cause.certificate import Certificate, Flaw, describe_flaw, flaw_of
from cause.connection import (
    describe_silence,
    no_handshake,
    speaks_plain,
    unknown_host,
)
from cause.finding import Cause, Role, shown, shown_url
from pull.fault import Fault
from pull.place import TIMEOUT, Place
from resolver.grammar.url import is_loopback
from resolver.upstream.failure import NO_TLS_AT_ALL, symptom_of

_UNKNOWN_NAMES = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", -5)}
_LATER = "try again; if it stays so, look at its log"


def unreachable(place: Place, error: Exception) -> Fault:
    """Return what is wrong where there is no answer."""
    chain = list(_chain(error))
    bottom = chain[-1]
    if isinstance(error, requests.exceptions.ProxyError):
        return Fault(
            Cause.NETWORK,
            f"{place.address} cannot be reached{place.through}: {_reason(bottom)}",
            "set HTTPS_PROXY or HTTP_PROXY right, with its login if it wants one, or"
            f" add {shown(place.name)} to NO_PROXY",
        )
    for each in chain:
        match each:
            case socket.gaierror() | UnicodeError():
                return _unknown_name(place, each)
            case ssl.SSLCertVerificationError():
                return _certificate(place, each)
            case ssl.SSLError():
                return _no_tls(place, each)
    is_plain = place.scheme == "http" and place.proxy is None
    if is_plain and isinstance(bottom, OSError | http.client.HTTPException | HTTPError):
        refused = isinstance(bottom, ConnectionRefusedError)
        if not refused and speaks_tls(place):
            return wants_tls(place)
    return Fault(
        place.fault,
        f"{_subject(place)} at {place.address}{place.through} {_silence(error)}",
        _next_step(place, bottom),
    )


def breaking(error: Exception) -> str:
    """Return how an answer broke off, as a verb and what follows it."""
    if isinstance(error, ReadTimeoutError | TimeoutError):
        return f"sends no more for {TIMEOUT} seconds"
    return "broke off"


def broken(place: Place, how: str) -> Fault:
    """Return what is wrong where a short answer does not come whole."""
    return Fault(place.fault, f"the answer of {place} {how}", _LATER)


def senseless(place: Place) -> Fault:
    """Return what is wrong with where somebody leads to."""
    return Fault(
        Cause.REALM if place.role is Role.TOKEN else Cause.STORAGE,
        f"a {place.role} is named that nobody can ask: {shown_url(place.url)}",
        "let the registry name an absolute URL with http:// or https://",
    )


def wants_tls(place: Place) -> Fault:
    """Return what is wrong where TLS is spoken and plain HTTP was."""
    return Fault(
        Cause.TLS,
        connection.speaks_tls(place.address),
        f"write https://{shown(place.netloc)}/… and leave out --plain-http; docker asks"
        " loopback in TLS too, and then in plain HTTP",
    )


def speaks_tls(place: Place) -> bool:
    """Return whether TLS is spoken there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent there.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError, ValueError):
        address = (place.name, place.port)
        with (
            socket.create_connection(address, TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=place.name),
        ):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, and those that it began with."""
    step: BaseException | None = error
    while step is not None:
        yield step
        step = step.__context__


def _unknown_name(place: Place, error: socket.gaierror | UnicodeError) -> Fault:
    cause = Cause.DNS if place.role is Role.REGISTRY else place.fault
    temporary = isinstance(error, socket.gaierror) and error.errno not in _UNKNOWN_NAMES
    if temporary:
        return Fault(
            cause,
            f"the name of {place} cannot be looked up: {shown(str(error.args[-1]))}",
            "see whether this machine's name server answers: getent hosts"
            f" {shown(place.name)}",
        )
    return Fault(
        cause,
        unknown_host(place.name, str(place)),
        "check how it is spelled, and whether its name is known in this network only",
    )


def _certificate(place: Place, error: ssl.SSLCertVerificationError) -> Fault:
    whose, words = str(place), error.verify_message
    certificate = _shown_certificate(place)
    sentence = describe_flaw(whose, place.name, words, certificate, time.time())
    advice = {
        Flaw.EXPIRED: "renew it there, unless the clock is wrong",
        Flaw.EARLY: "synchronise this machine's clock (NTP); if it is right, wait",
        Flaw.OTHER_NAME: "use a name that it has, or get a certificate for"
        f" {shown(place.name)}",
        Flaw.UNTRUSTED: "name the file of that authority by --ca FILE; docker and the"
        f" others need it too: registry-proxy trust {shown(place.netloc)}, where the"
        " proxy runs, prints how",
    }[flaw_of(words)]
    return Fault(Cause.TLS, sentence, advice)


def _shown_certificate(place: Place) -> Certificate | None:
    """Return the certificate that is shown there, if it can be seen."""
    if place.proxy is not None:
        return None
    with suppress(OSError, ValueError):
        address = (place.name, place.port)
        pem = ssl.get_server_certificate(address, timeout=TIMEOUT)
        return Certificate.of(x509.load_pem_x509_certificate(pem.encode()))
    return None


def _no_tls(place: Place, error: ssl.SSLError) -> Fault:
    if error.reason in NO_TLS_AT_ALL:
        return Fault(
            Cause.TLS,
            speaks_plain(place.address),
            "if that is meant, add --plain-http; docker needs it among its"
            " insecure-registries then",
        )
    return Fault(
        Cause.TLS,
        no_handshake(str(place), error.reason or str(error)),
        "see which versions of TLS it speaks: openssl s_client -connect"
        f" {place.address}",
    )


def _subject(place: Place) -> str:
    match place.role:
        case Role.TOKEN:
            return "the token server that the registry's challenge names,"
        case Role.STORAGE:
            return "the storage that the registry redirects to,"
        case _:
            return "the registry"


def _silence(error: Exception) -> str:
    symptom = symptom_of(error)
    words = describe_silence(symptom, TIMEOUT)
    return words or f"gives no answer: {_reason(list(_chain(error))[-1])}"


def _next_step(place: Place, bottom: BaseException) -> str:
    if place.role is Role.TOKEN:
        return (
            "see whether this machine reaches it; if it is a wrong one, set the realm"
            " of the registry, or PUBLIC_URL of the proxy"
        )
    if place.role is Role.STORAGE:
        return (
            "see whether this machine reaches it; if it cannot, start the proxy with"
            " BLOBS=follow"
        )
    if is_loopback(place.netloc):
        if isinstance(bottom, ConnectionRefusedError):
            return "start the proxy, with registry-proxy run, or name the right port"
        return "check the port, and what listens there"
    return "check host and port, and whether a firewall or VPN is in the way"


def _reason(error: BaseException) -> str:
    """Return the words of the system, without the URL that libraries add."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    text = getattr(error, "strerror", None) or str(error)
    return shown(text or type(error).__name__)
