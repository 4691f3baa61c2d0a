"""References of any registry: what is pulled, and from where.

::

    reference = [ scheme "://" ] [ host "/" ] name [ ":" tag ] [ "@" digest ]
    scheme    = "docker" | "http" | "https"
    host      = whatever has "." or ":" in it, or "localhost"

As in https://pkg.go.dev/github.com/distribution/reference, but that a reference without
a host is taken at the proxy of this machine. Like docker, this speaks plain HTTP with
loopback; with other hosts it does so where it is told to alone.
"""

import re
from dataclasses import dataclass

from cause.finding import Cause
from pull.fault import Fault
from resolver.errors import RequestError
from resolver.grammar.reference import (
    parse_digest,
    parse_repository_name,
    parse_tag,
    plus_advice,
    replace_plus,
    shorten,
)
from resolver.grammar.url import is_loopback, parse_host

HUB = "docker.io"
HUB_HOST = "registry-1.docker.io"
LATEST = "latest"
_PATH = "<org>/<app>/<version>"
EXAMPLE = f"localhost:8080/{_PATH}"
_REFERENCE = re.compile(
    r"""
    (?: (?P<scheme> docker | https? ) :// )?
    (?: (?P<host> localhost | [^/@]* [.:] [^/@]* ) / )?
    (?P<name> [^:@]* )
    (?: : (?P<tag> [^@]* ) )?
    (?: @ (?P<digest> .* ) )?
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What is pulled, and from where."""

    host: str
    """Where it is, with the port, as logins are kept under it."""
    url: str
    """The registry's, without a slash at its end."""
    name: str
    tag: str
    digest: str | None = None

    @property
    def version(self) -> str:
        """What the manifest is asked for by."""
        return self.digest or self.tag

    @property
    def title(self) -> str:
        """The name with tag or digest, as images are called in a layout."""
        return (
            f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"
        )


def parse_reference(
    text: str, *, usual_host: str = "localhost:8080", is_plain: bool = False
) -> Reference:
    """Return the reference that somebody typed or pasted.

    Args:
        text: the reference.
        usual_host: where a name without a host is.
        is_plain: whether to speak plain HTTP, whichever host it is.

    Raises:
        Fault: there is no image of that name anywhere.

    """
    match = _REFERENCE.fullmatch(text.strip())
    if match is None:
        raise _fault(f"{shorten(text)} names no image", f"write it as {EXAMPLE}")
    host, name, scheme = match["host"] or usual_host, match["name"], match["scheme"]
    example = f"write it as {f'{scheme}://' if scheme else ''}{host}/{_PATH}"
    try:
        parse_host(host)
    except RequestError as error:
        raise _fault(
            f"{shorten(host)}, before the first slash, is no host",
            "write a name or an address and the port, as in registry.example.com:5000",
        ) from error
    if not name:
        raise _fault(f"{shorten(text)} names no image", example)
    if host.removeprefix("index.") == HUB:
        host, name = HUB, name if "/" in name else f"library/{name}"
    try:
        parse_repository_name(name)
    except RequestError as error:
        better = replace_plus(name).lower()
        is_better = better != name and is_name(better)
        advice = f"write {shorten(better)}" if is_better else example
        raise _fault(error.message, advice) from error
    tag = _checked_tag(match["tag"])
    digest = match["digest"]
    if digest is not None and parse_digest(digest) is None:
        raise _fault(
            f"{shorten(digest)}, after the @, is no digest",
            "write it in full length, sha256: and 64 hex digits in lower case",
        )
    # The proxy of this machine speaks plain HTTP, wherever it listens.
    is_near = match["host"] is None or is_loopback(host)
    plain = scheme == "http" or is_plain or (scheme != "https" and is_near)
    place = HUB_HOST if host == HUB else host
    url = f"{'http' if plain else 'https'}://{place}"
    return Reference(host, url, name, tag, digest)


def has_host(text: str) -> bool:
    """Return whether a reference that somebody typed names a host."""
    match = _REFERENCE.fullmatch(text.strip())
    return match is not None and match["host"] is not None


def is_name(text: str) -> bool:
    """Return whether it is a repository name."""
    try:
        parse_repository_name(text)
    except RequestError:
        return False
    return True


def _checked_tag(text: str | None) -> str:
    if text is None:
        return LATEST
    if parse_tag(text) is not None:
        return text
    if advice := plus_advice(text, parse_tag):
        raise _fault(advice, f"write {shorten(replace_plus(text))}")
    raise _fault(
        f"{shorten(text)}, after the colon, is no tag",
        "write letters, digits and . _ - after the colon, 128 at most, or leave it out",
    )


def _fault(sentence: str, advice: str) -> Fault:
    return Fault(Cause.NAME, sentence, advice)
