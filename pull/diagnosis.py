"""Connections that fail: which cause, which sentence, which next step."""

import datetime as dt
import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress

import requests
from cryptography import x509
from urllib3.exceptions import HTTPError, ReadTimeoutError

from cause.finding import Cause, Role, shown, shown_url
from pull.fault import Fault
from pull.place import TIMEOUT, Place
from pull.reference import is_loopback

_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAMES = frozenset({62, 64})
"""X509_V_ERR_… in openssl/x509_vfy.h."""
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
        f"{place.address} speaks TLS, and was asked in plain HTTP",
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
        f"there is no host of the name {shown(place.name)}, where {place} should be",
        "check how it is spelled, and whether its name is known in this network only",
    )


def _certificate(place: Place, error: ssl.SSLCertVerificationError) -> Fault:
    certificate = _shown_certificate(place)
    now = f"and this machine's clock says {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC"
    whose = f"the certificate of {place}"
    match error.verify_code:
        case code if code == _EXPIRED:
            end = certificate and f" on {certificate.not_valid_after_utc:%Y-%m-%d}"
            sentence = f"{whose} expired{end or ''}, {now}"
            advice = "renew it there, unless the clock is wrong"
        case code if code == _NOT_YET:
            begin = certificate and f" {certificate.not_valid_before_utc:%Y-%m-%d}"
            sentence = f"{whose} is not valid before{begin or ' a later day'}, {now}"
            advice = "set this machine's clock by NTP; if it is right, wait"
        case code if code in _OTHER_NAMES:
            names = ", ".join(_names(certificate)) or "other names"
            sentence = f"{whose} is for {shown(names)}, and not for {shown(place.name)}"
            advice = "use a name that it has, or let it be signed for this one"
        case _:
            issuer = certificate and certificate.issuer.rfc4514_string()
            signed = f" is signed by {shown(issuer)}, which" if issuer else ""
            sentence = f"{whose}{signed} is not trusted here: {error.verify_message}"
            advice = (
                "name the file of that authority by --ca FILE; docker and the others"
                f" need it too: registry-proxy trust {shown(place.netloc)}, where the"
                " proxy runs, prints how"
            )
    return Fault(Cause.TLS, sentence, advice)


def _shown_certificate(place: Place) -> x509.Certificate | None:
    """Return the certificate that is shown there, if it can be seen."""
    if place.proxy is not None:
        return None
    with suppress(OSError, ValueError):
        address = (place.name, place.port)
        pem = ssl.get_server_certificate(address, timeout=TIMEOUT)
        return x509.load_pem_x509_certificate(pem.encode())
    return None


def _names(certificate: x509.Certificate | None) -> list[str]:
    if certificate is None:
        return []
    try:
        names = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except (x509.ExtensionNotFound, ValueError):
        return [certificate.subject.rfc4514_string()]
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _no_tls(place: Place, error: ssl.SSLError) -> Fault:
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        return Fault(
            Cause.TLS,
            f"{place.address} speaks plain HTTP, and was asked in TLS",
            "if that is meant, add --plain-http; docker needs it among its"
            " insecure-registries then",
        )
    return Fault(
        Cause.TLS,
        f"no TLS comes about with {place}: {shown(error.reason or str(error))}",
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
    bottom = list(_chain(error))[-1]
    if isinstance(error, requests.ReadTimeout):
        return f"does not answer within {TIMEOUT} seconds"
    if isinstance(error, requests.ConnectTimeout) or isinstance(bottom, TimeoutError):
        return f"takes no connection within {TIMEOUT} seconds"
    match bottom:
        case ConnectionRefusedError():
            return "refuses the connection: nobody listens there"
        case http.client.RemoteDisconnected():  # It is a ConnectionResetError as well.
            return "closed the connection without an answer"
        case ConnectionResetError():
            return "reset the connection"
    return f"gives no answer: {_reason(bottom)}"


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
    if isinstance(bottom, ConnectionRefusedError) and is_loopback(place.netloc):
        return "start the proxy, with registry-proxy run, or name the right port"
    return "check host and port, and whether a firewall or VPN is in the way"


def _reason(error: BaseException) -> str:
    """Return the words of the system, without the URL that libraries add."""
    if isinstance(error, requests.RequestException):
        return type(error).__name__
    text = getattr(error, "strerror", None) or str(error)
    return shown(text or type(error).__name__)
