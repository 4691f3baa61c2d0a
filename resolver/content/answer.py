"""The registry's answer, as the client sees it.

Rules R2, R10 and R12 of the design: the realm is ours, the alias stands where the
location was, links stay on the proxy, and blobs are streamed. A redirect to storage
is left as it is.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit, urlunsplit

from resolver.errors import RangeUnsatisfiable
from resolver.grammar.challenge import Challenge, parse_challenge
from resolver.grammar.endpoint import Base, Content, ContentKind
from resolver.grammar.reference import Location, shorten
from resolver.grammar.url import USUAL_PORTS

ERROR_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "content-range",
        "retry-after",
        "transfer-encoding",
    }
)
"""What of an error of the storage clients get: where it ends, and when to try again."""
BLOB_HEADERS = ERROR_HEADERS | {
    "accept-ranges",
    "content-encoding",
    "content-type",
    "etag",
    "last-modified",
}
"""What of a blob of the storage they get; nothing that names the storage."""
ANSWER_HEADERS = BLOB_HEADERS | {
    "age",
    "cache-control",
    "content-digest",
    "content-disposition",
    "content-language",
    "content-location",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "expires",
    "link",
    "location",
    "oci-filters-applied",
    "oci-subject",
    "oci-tag",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "repr-digest",
    "vary",
    "warning",
    "www-authenticate",
}
"""What of an answer of the registry they get: what clients of registries read, by the
specifications of OCI, Docker and HTTP. Whatever else stands there tells of the inside
(``Via``, ``Server``, ``X-…``), is for the registry's own host (``Set-Cookie``,
``Strict-Transport-Security``), leads past the proxy (``Alt-Svc``), or is an order to a
reverse proxy in front (``X-Accel-Redirect``)."""

_REWRITTEN_HEADERS = frozenset(
    {b"www-authenticate", b"location", b"content-location", b"link"}
)
BUFFER_LENGTH_MAX = 4 << 20
"""Bytes; registries take no larger manifests, and errors are small."""

# https://www.rfc-editor.org/rfc/rfc9110#name-content-range
_UNSATISFIED = re.compile(r"bytes \*/(?P<length>[0-9]{1,20})")
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]+")
# Also one without its end, so that the end is not looked for at each "<" again.
_LINK_TARGET = re.compile(r"<([^>]*)>?")


@dataclass(frozen=True, slots=True)
class View:
    """What the client knows, and what it must not see instead."""

    public_url: str
    """The proxy, as the client reached it."""
    token_url: str
    """The realm for this client."""
    registry_host: str
    """Host and port of the registry: where its own links and redirects lead."""
    alias: str | None = None
    location: Location | None = None
    """What stood for the alias upstream, if the client had a token for it."""
    scope: str | None = None
    """What a challenge asks for, where that is more than the alias."""

    def is_rewritten(self, name: bytes, value: bytes) -> bool:
        """Return whether a header may be another one for the client; few are."""
        if name.lower() in _REWRITTEN_HEADERS:
            return True
        return self.location is not None and _folderless(self.location) in value

    def header(self, name: str, value: str) -> str:
        """Return the value of an answer's header as the client sees it."""
        match name.lower():
            case "www-authenticate":
                return self._challenge(value)
            case "location":
                return self._redirect(value)
            case "content-location":
                return self._named(self._redirect(value))
            case "link":
                return self._named(_LINK_TARGET.sub(_without_origin, value))
        return self._named(value)

    def body(self, body: bytes) -> bytes:
        """Return an error or a list as the client sees it."""
        if self.alias is None or self.location is None:
            return body
        alias = self.alias.encode()
        return re.sub(_pattern(self.location).encode(), lambda _: alias, body)

    def _challenge(self, value: str) -> str:
        challenge = parse_challenge(value)
        if challenge is None and "bearer" in value.lower():
            # It cannot be read, and must not lead clients past the proxy.
            return str(Challenge(self.token_url, self.registry_host))
        if challenge is None:
            return self._named(value)
        ours = replace(challenge, realm=self.token_url)
        if self.scope and challenge.scope:
            ours = replace(ours, scope=self.scope)
        return self._named(str(ours))

    def _redirect(self, value: str) -> str:
        """Keep redirects of the registry to itself on the proxy, and no others."""
        try:
            parts = urlsplit(value)
            is_own = self._is_registry(parts)
        except ValueError:
            return self._named(value)
        if not parts.netloc:
            return self._named(value)
        if not is_own:
            return value
        public = urlsplit(self.public_url)
        ours = parts._replace(scheme=public.scheme, netloc=public.netloc)
        return self._named(urlunsplit(ours))

    def _is_registry(self, parts: SplitResult) -> bool:
        own = urlsplit(f"//{self.registry_host}")
        usual = USUAL_PORTS.get(parts.scheme)
        return parts.hostname == own.hostname and own.port == (
            None if parts.port == usual else parts.port
        )

    def _named(self, text: str) -> str:
        alias = self.alias
        if alias is None or self.location is None:
            return text
        # Nearly no header has it, and to look for it is much cheaper than to match.
        if self.location.partition("/")[2] not in text:
            return text
        return re.sub(_pattern(self.location), lambda _: alias, text)


def _folderless(location: Location) -> bytes:
    """Return the part of a location that no other text has."""
    return location.partition("/")[2].encode()


def pass_on(
    fields: Iterable[tuple[bytes, bytes]], names: frozenset[str]
) -> list[tuple[bytes, bytes]]:
    """Return those of an answer's header fields that clients get.

    A value over several lines comes on one, and no control character goes along
    (RFC 9110 section 5.5): to some client it is the end of the line.
    """
    return [
        (name, _CONTROLS.sub(b" ", value))
        for name, value in fields
        if name.decode("latin-1").lower() in names
    ]


def is_streamed(
    endpoint: Base | Content, status: int, headers: Mapping[str, str]
) -> bool:
    """Return whether the answer goes through as it comes, without being held.

    Blobs do, of whatever size (R12). Errors do not, because they name the location
    (R2); nor do manifests of a usual size, so that whoever looks at the flow sees
    them. What claims to be larger always does.
    """
    length = headers.get("content-length", "")
    # Not `int`, which takes no number of thousands of digits.
    if length.isdecimal() and float(length) > BUFFER_LENGTH_MAX:
        return True
    return status < HTTPStatus.BAD_REQUEST and is_blob(endpoint)


def unsatisfiable(wanted: str, content_range: str) -> RangeUnsatisfiable:
    """Return the error in words for a 416, of which the registry says nothing much.

    Args:
        wanted: the range that the client asked for.
        content_range: what the registry says of it; nothing where it read none.

    """
    match = _UNSATISFIED.fullmatch(content_range)
    if not match:
        return RangeUnsatisfiable(
            f"{shorten(wanted)} is no range: one is like bytes=0-99, bytes=100- or"
            " bytes=-50"
        )
    return RangeUnsatisfiable(
        f"no byte is in the range {shorten(wanted)}: the length is {match['length']}"
        " bytes, the first of which is 0",
        headers=(("Content-Range", content_range),),
    )


def is_blob(endpoint: Base | Content) -> bool:
    """Return whether a blob is asked for."""
    return isinstance(endpoint, Content) and endpoint.kind is ContentKind.BLOB


def is_manifest(endpoint: Base | Content) -> bool:
    """Return whether a manifest is asked for."""
    return isinstance(endpoint, Content) and endpoint.kind is ContentKind.MANIFEST


def is_rewritten(endpoint: Base | Content, status: int) -> bool:
    """Return whether the answer's body may name the location (R2, R10)."""
    return status >= HTTPStatus.BAD_REQUEST or (
        isinstance(endpoint, Content)
        and endpoint.kind in (ContentKind.TAGS, ContentKind.REFERRERS)
    )


def _without_origin(match: re.Match[str]) -> str:
    """Return a link that is relative to the host, so that it leads to the proxy."""
    try:
        parts = urlsplit(match[1])
    except ValueError:
        return "<>"
    path = parts.path
    if parts.scheme or path.startswith("//"):
        # It must not begin like another host.
        path = "/" + path.lstrip("/")
    return f"<{urlunsplit(('', '', path, parts.query, parts.fragment))}>"


def _pattern(location: Location) -> str:
    """Return what matches the location, also escaped, also without its folder."""
    folder, _, name = location.partition("/")
    return rf"(?:{folder}(?:/|\\/|%2[Ff]))?{re.escape(name)}"
