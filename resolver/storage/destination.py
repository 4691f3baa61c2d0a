"""Decides whether a redirect can be followed at all, by what it says.

A redirect of a blob leads to a URL that is signed, more often than not: whoever has
it has the blob. So of a URL nothing is shown but its host.
"""

import logging
import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urljoin, urlsplit

from resolver.errors import RedirectRefused
from resolver.grammar.url import parse_host
from resolver.storage.address import is_ambiguous

logger = logging.getLogger(__name__)

URL_LENGTH_MAX = 8192
"""Characters; signed URLs have up to two thousand."""
USUAL_PORTS = {"http": 80, "https": 443}
_TEXT = re.compile(r"[\x21-\x7e]+")
"""What a URL consists of (RFC 3986); Python's reader drops line breaks in silence."""

type Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request goes."""

    scheme: str
    host: str
    """A name or an address, in lower case; an IPv6 address without brackets."""
    port: int
    path: str = field(repr=False)
    """With its query, and so with a signature."""

    @classmethod
    def of_url(cls, url: str, path: str = "/") -> Self:
        """Return the path on the host of a URL that was checked."""
        parts = urlsplit(url)
        port = parts.port or USUAL_PORTS[parts.scheme]
        return cls(parts.scheme, parts.hostname or "", port, path)

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
    def url(self) -> str:
        """The whole URL, which nobody is shown."""
        return f"{self.scheme}://{self.netloc}{self.path}"


def parse_redirect(location: str, origin: Destination) -> Destination:
    """Return where a ``Location`` leads from where it was read.

    Raises:
        RedirectRefused: it is no URL of a web server, or leads away from TLS.

    """
    if len(location) > URL_LENGTH_MAX or not _TEXT.fullmatch(location):
        raise refuse("its URL is too long, or has characters that no URL has")
    try:
        if (given := urlsplit(location)).scheme and not given.netloc:
            raise refuse("its URL has no host")
        parts = urlsplit(urljoin(origin.url, location))
        if parts.scheme not in USUAL_PORTS:
            raise refuse("its URL is neither https nor http")
        if "@" in parts.netloc:
            raise refuse("its URL has a login in it")
        parse_host(parts.netloc)
        host, port = parts.hostname or "", parts.port or USUAL_PORTS[parts.scheme]
    except ValueError as error:
        raise refuse("its URL has no host that can be read") from error
    if is_ambiguous(host) or host.endswith("."):
        raise refuse(f"{host} is neither a name nor an address in its usual form")
    if origin.scheme == "https" != parts.scheme:
        raise refuse(f"it leads from https to http, at {host}")
    query = f"?{parts.query}" if parts.query else ""
    return Destination(parts.scheme, host, port, (parts.path or "/") + query)


def refuse(reason: str) -> RedirectRefused:
    """Log for the operator why a redirect is not followed; return what clients get."""
    logger.warning("a redirect of a blob is not followed: %s", reason)
    return RedirectRefused(
        "the registry keeps this blob where the proxy may not get it from; the proxy's"
        " operator finds the reason in the log"
    )
