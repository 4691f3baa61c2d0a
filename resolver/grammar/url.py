"""URLs of a host: the one under which the client reached the proxy (design section 6).

::

    host = ( name / IPv4 / "[" IPv6 "]" ) [ ":" port ]

The realm of every challenge is built on it, and clients send their credentials
there, so it is read strictly. Forwarded headers are RFC 7239's and the older
`X-Forwarded-*`; of a list the first entry counts, the one nearest to the client.
"""

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from resolver.errors import RequestInvalid
from resolver.grammar.reference import shorten

PORT_MAX = 65535
USUAL_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(
    r"""
    (?: (?P<name> [A-Za-z0-9_] (?: [A-Za-z0-9_.-]{0,252} [A-Za-z0-9_.] )? )
      | \[ (?P<ipv6> [0-9A-Fa-f:.]{2,45} ) \] )
    (?: : (?P<port> [0-9]{1,5} ) )?
    """,
    re.VERBOSE,
)
_PORT = re.compile(r":\d+$")
# Spaces are read once (`*+`), or a long header of them would take minutes.
_PAIR = re.compile(r'\s*(?P<name>[a-z]+)\s*=\s*+"?(?P<value>[^";,]*+)"?\s*')

_ADDRESS = re.compile(
    r"""
    \[ (?P<ipv6> [0-9a-fA-F:.]{2,45} ) \] (?: :[0-9]{1,5} )?
    | (?P<ipv4> [0-9.]{7,15} ) (?: :[0-9]{1,5} )?
    | (?P<bare> [0-9a-fA-F:.]{2,45} )
    """,
    re.VERBOSE,
)


def parse_host(text: str) -> str:
    """Return the host with its port, as it was written.

    Raises:
        RequestInvalid: it is no host.

    """
    match = _HOST.fullmatch(text)
    if not match or not _is_sound(match):
        # What stands before an @ may be a login.
        raise RequestInvalid(
            f"{shorten(text.rpartition('@')[2])} is no host: the Host header has the"
            " proxy's name or address and, unless it is the usual one, its port"
        )
    return text


def format_host(name: str, port: int) -> str:
    """Return host and port as they stand in a URL."""
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether the host, with a port or without, is this machine's loopback."""
    name = _PORT.sub("", host).strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parse_url(text: str) -> str:
    """Return an `http` or `https` URL of a host alone, in its shortest form.

    It has no slash at its end, and no port where that is the usual one.

    Raises:
        ValueError: it is something else, or has a path, query or user.

    """
    parts = urlsplit(text)
    bare = f"{parts.scheme}://{parts.netloc}"
    match = _HOST.fullmatch(parts.netloc)
    if (
        parts.scheme not in USUAL_PORTS
        or text.rstrip("/") != bare
        or not match
        or not _is_sound(match)
    ):
        raise ValueError(
            f"{shorten(text)} is no URL of a host: write https://host or"
            " http://host:port, without a path"
        )
    return bare.removesuffix(f":{USUAL_PORTS[parts.scheme]}")


def client_url(
    *, tls: bool, host: str | None, headers: Mapping[str, str], trust_forwarded: bool
) -> str:
    """Return the URL that the client used, without a slash at its end.

    Args:
        tls: whether the client's connection is encrypted.
        host: the ``Host`` header or ``:authority``.
        headers: the request's headers; names are looked up in lower case.
        trust_forwarded: whether a reverse proxy in front is to be believed.

    Raises:
        RequestInvalid: the host breaks the grammar, or there is none.

    """
    scheme = "https" if tls else "http"
    if trust_forwarded:
        forwarded_scheme, forwarded_host = _forwarded(headers)
        scheme, host = forwarded_scheme or scheme, forwarded_host or host
    if scheme not in USUAL_PORTS:
        raise RequestInvalid(f"{shorten(scheme)} is neither http nor https")
    return f"{scheme}://{parse_host(host or '')}"


def client_address(headers: Mapping[str, str]) -> str | None:
    """Return the client's address as the reverse proxy in front saw it, if it says so.

    The last entry is the one that the reverse proxy wrote; the others came with the
    request, and anybody can write them.
    """
    last = headers.get("forwarded", "").rpartition(",")[2]
    address = _pairs(last).get("for", "")
    if not address:
        address = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    match = _ADDRESS.fullmatch(address)
    if not match:
        return None
    try:
        return str(
            ipaddress.ip_address(match["ipv6"] or match["ipv4"] or match["bare"])
        )
    except ValueError:
        return None


def forwarded_scheme(headers: Mapping[str, str]) -> str:
    """Return the scheme that the client used as headers say, trusted or not."""
    return _forwarded(headers)[0] or ""


def _forwarded(headers: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return scheme and host as the reverse proxy in front saw them."""
    first = headers.get("forwarded", "").partition(",")[0]
    pairs = _pairs(first)
    scheme = pairs.get("proto") or _first(headers.get("x-forwarded-proto", ""))
    host = pairs.get("host") or _first(headers.get("x-forwarded-host", ""))
    return scheme.lower() or None, host or None


def _pairs(element: str) -> dict[str, str]:
    """Return the pairs of one element of a `Forwarded` header."""
    matches = map(_PAIR.fullmatch, element.lower().split(";"))
    return {match["name"]: match["value"] for match in matches if match}


def _first(entries: str) -> str:
    return entries.partition(",")[0].strip()


def _is_sound(match: re.Match[str]) -> bool:
    if match["port"] is not None and not 0 < int(match["port"]) <= PORT_MAX:
        return False
    if match["ipv6"] is None:
        return ".." not in match["name"]
    try:
        ipaddress.IPv6Address(match["ipv6"])
    except ValueError:
        return False
    return True
