"""The URL that a redirect of a blob leads to.

It is signed, more often than not: whoever has it has the blob. So nothing of it is
shown but its host.
"""

import logging
import re
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from typing import Self
from urllib.parse import urljoin, urlsplit

from resolver.errors import RedirectRefused
from resolver.grammar.url import USUAL_PORTS, parse_host

logger = logging.getLogger(__name__)

URL_LENGTH_MAX = 8192
"""Characters; signed URLs have up to two thousand."""
_TEXT = re.compile(r"[\x21-\x7e]+")
"""What a URL consists of (RFC 3986); Python's reader drops line breaks in silence."""

type Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True, slots=True)
class Url:
    """An `http` or `https` URL of a host that is read alike by everybody."""

    scheme: str
    host: str
    """A name or an address, in lower case; an IPv6 address without brackets."""
    port: int
    path: str = field(repr=False)
    """With its query, and so with a signature."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the URL of a host alone, which was checked."""
        parts = urlsplit(text)
        port = parts.port or USUAL_PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname or "", port, "/")

    def at(self, path: str) -> Self:
        """Return the URL of another path on the same host."""
        return replace(self, path=path)

    @property
    def origin(self) -> Origin:
        """What a connection is for."""
        return self.scheme, self.host, self.port

    @property
    def netloc(self) -> str:
        """Host and port as in a ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == USUAL_PORTS[self.scheme]
        return host if usual else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL, which nobody is shown."""
        return f"{self.scheme}://{self.netloc}{self.path}"


def parse_redirect(location: str, origin: Url) -> Url:
    """Return where a ``Location`` leads from where it was read.

    Raises:
        RedirectRefused: it is no URL of a web server, or leads away from TLS.

    """
    refused = partial(refuse, by=origin.netloc)
    if len(location) > URL_LENGTH_MAX or not _TEXT.fullmatch(location):
        raise refused("its URL is too long, or has characters that no URL has")
    try:
        if (reference := urlsplit(location)).scheme and not reference.netloc:
            raise refused("its URL has no host")
        parts = urlsplit(urljoin(origin.text, location))
        if parts.scheme not in USUAL_PORTS:
            raise refused("its URL is neither https nor http")
        if "@" in parts.netloc:
            raise refused("its URL has a login in it")
        parse_host(parts.netloc)
        host, port = parts.hostname or "", parts.port or USUAL_PORTS[parts.scheme]
    except ValueError as error:
        raise refused("its URL has no host that can be read") from error
    if is_ambiguous(host) or host.endswith("."):
        raise refused(f"{host} is neither a name nor an address in its usual form")
    if origin.scheme == "https" != parts.scheme:
        raise refused(f"it leads from https to http, at {host}")
    query = f"?{parts.query}" if parts.query else ""
    return Url(parts.scheme, host, port, (parts.path or "/") + query)


def is_ambiguous(host: str) -> bool:
    """Return whether a host is an address in a form that not everybody reads alike.

    As 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to some. What ends in a number is an
    address (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    last = host.rpartition(".")[2]
    if ":" in host or not (last.isdecimal() or last[:2].lower() == "0x"):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


def refuse(reason: str, by: str = "") -> RedirectRefused:
    """Log for the operator why a redirect is not followed; return what clients get.

    Args:
        reason: in words.
        by: the host that redirects, where the reason names none.

    """
    who = f" by {by}" if by else ""
    logger.warning("a redirect of a blob%s is not followed: %s", who, reason)
    return RedirectRefused(
        "the registry keeps this blob where the proxy may not get it from; the proxy's"
        " operator finds the reason in the log"
    )
