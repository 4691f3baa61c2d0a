"""Endpoints: the paths that are served (design section 4).

::

    /ping                              health check: the proxy is alive
    /ready                             health check: registry and API are reachable
    /auth/v1/token                     token endpoint
    /v2/                               base, says whether a login is needed
    /v2/_catalog                       the repositories, where names are the registry's
    /v2/<name>/manifests/<tag|digest>
    /v2/<name>/blobs/<digest>
    /v2/<name>/tags/list               query: n, last
    /v2/<name>/referrers/<digest>      query: artifactType

The paths under /v2/ are those of the OCI specification:
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
They are taken as they stand on the wire. Nothing in them needs percent-encoding,
so a path with `%`, `//` or `..` breaks the grammar and goes nowhere.
The catalog is that of https://distribution.github.io/distribution/spec/api/#catalog
"""

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlencode

from resolver.errors import EndpointUnknown, MethodNotAllowed, NameInvalid
from resolver.grammar.challenge import TOKEN_PATH
from resolver.grammar.reference import (
    Digest,
    RepositoryName,
    Tag,
    parse_digest,
    parse_repository_name,
    parse_tag,
    plus_advice,
    printable,
    shorten,
)

PING_PATH = "/ping"
READY_PATH = "/ready"
CATALOG_PATH = "/v2/_catalog"
"""Docker's list of repositories, which would show locations of releases."""
_NAMESPACE_LENGTH_MAX = 300
"""Characters of a query that are looked at for a host."""
READ_METHODS = ("GET", "HEAD")
TOKEN_METHODS = ("GET", "POST")


class ContentKind(StrEnum):
    """What of a repository is asked for."""

    MANIFEST = "manifests"
    BLOB = "blobs"
    TAGS = "tags"
    REFERRERS = "referrers"


_QUERY = {
    ContentKind.MANIFEST: (),
    ContentKind.BLOB: (),
    ContentKind.TAGS: ("n", "last"),
    ContentKind.REFERRERS: ("artifactType", "n", "last"),
}
"""The parameters that go upstream; containerd's `ns`, for one, is meant for us."""
_OURS = "ns"

_REPOSITORY = re.compile(
    r"""
    /v2 / (?P<name> .+ ) /
    (?: (?P<kind> manifests | blobs | referrers ) / (?P<reference> [^/]* )
      | (?P<tags> tags ) / list )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Surface:
    """What of a registry is served, and in which words other requests are refused."""

    pulls_only: str
    """That nothing is pushed or deleted here, and where that is done."""
    name: str
    """What stands in a path for the name of a repository."""
    example: str
    """A whole name."""
    is_whole: bool = False
    """Whether there is a catalog, and lists take whatever parameters the registry has:
    some page by others than those of the specification."""


RELEASES = Surface(
    "through this proxy releases are pulled, not pushed or deleted; releases are made"
    " with balena push or balena deploy",
    "<org>/<app>[/<version>]",
    "<org>/<app>/<version>",
)
"""Releases by name."""


def own_names(host: str) -> Surface:
    """Return what is served of a registry whose names are served as they are."""
    return Surface(
        f"this proxy serves pulls only; push to the registry {host} itself, and delete"
        " there",
        "<repository>",
        "library/alpine",
        is_whole=True,
    )


_WRITTEN = re.compile(r"/v2/(?P<name>[^?]+?)/(?:blobs|manifests|tags|referrers)(?:/|$)")


@dataclass(frozen=True, slots=True)
class Ping:
    """The health check of liveness."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The health check of readiness."""


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The token endpoint."""

    query: str


@dataclass(frozen=True, slots=True)
class Base:
    """`/v2/` itself."""

    path: str = "/v2/"


@dataclass(frozen=True, slots=True)
class Catalog(Base):
    """The list of repositories, by pages."""


@dataclass(frozen=True, slots=True)
class Content:
    """Something in a repository."""

    name: RepositoryName
    kind: ContentKind
    reference: Tag | Digest | None
    """The tag or digest; None for a list of tags."""
    query: str

    @property
    def path(self) -> str:
        """The path with its query, as it goes upstream."""
        tail = "list" if self.reference is None else self.reference
        query = f"?{self.query}" if self.query else ""
        return f"/v2/{self.name}/{self.kind}/{tail}{query}"


Endpoint = Ping | Ready | TokenEndpoint | Base | Content


def parse_endpoint(method: str, path: str, surface: Surface = RELEASES) -> Endpoint:
    """Return what the request is for.

    Args:
        method: as it came.
        path: with the query.
        surface: what is served.

    Raises:
        EndpointUnknown: nothing is served at the path.
        MethodNotAllowed: something is, and not for this method (R5, R11).
        NameInvalid: the path under /v2/ is malformed (R6).

    """
    path, _, query = path.partition("?")
    if path in (PING_PATH, READY_PATH):
        _check_method(method, READ_METHODS, path)
        return Ping() if path == PING_PATH else Ready()
    if path == TOKEN_PATH:
        _check_method(method, TOKEN_METHODS, path)
        return TokenEndpoint(query)
    if path != "/v2" and not path.startswith("/v2/"):
        raise EndpointUnknown(
            f"nothing is served at {shorten(path)}: this is a container registry,"
            f" with /v2/, {TOKEN_PATH}, {PING_PATH} and {READY_PATH}"
        )
    if method not in READ_METHODS:
        raise MethodNotAllowed(
            f"{shorten(method)} is not possible: {surface.pulls_only}",
            allowed=READ_METHODS,
        )
    if path == CATALOG_PATH and surface.is_whole:
        parameters = _pass_on(query, None)
        return Catalog(f"{path}?{parameters}" if parameters else path)
    if path == CATALOG_PATH:
        raise EndpointUnknown(
            f"there is no catalog: name a release, as in {surface.example}"
        )
    return Base() if path in ("/v2", "/v2/") else _parse_content(path, query, surface)


def parse_written(path: str) -> str | None:
    """Return the repository that somebody wants to write to, if there is one.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#push
    """
    match = _WRITTEN.match(path)
    try:
        return str(parse_repository_name(match["name"])) if match else None
    except NameInvalid:
        return None


def parse_namespace(path: str) -> str:
    """Return the registry that containerd wants, if the query says so.

    https://github.com/containerd/containerd/blob/main/docs/hosts.md
    """
    query = path.partition("?")[2][:_NAMESPACE_LENGTH_MAX]
    if "ns=" not in query:
        return ""  # As in nearly all.
    pairs = (pair.partition("=") for pair in query.split("&"))
    text = next((value for name, _, value in pairs if name == "ns"), "")
    return printable(unquote(text))


def _parse_content(path: str, query: str, surface: Surface) -> Content:
    match = _REPOSITORY.fullmatch(path)
    if not match:
        raise NameInvalid(
            f"{shorten(path)} is no path of a registry: expected"
            f" /v2/{surface.name}/manifests/<tag>, .../blobs/<digest>,"
            " .../referrers/<digest> or .../tags/list"
        )
    name = parse_repository_name(match["name"], surface.example)
    kind = ContentKind(match["kind"] or match["tags"])
    reference = _parse_reference(kind, match["reference"])
    names: Container[str] | None = _QUERY[kind]
    if surface.is_whole and names:
        names = None
    return Content(name, kind, reference, _pass_on(query, names))


def _pass_on(query: str, names: Container[str] | None) -> str:
    """Return the parameters that go upstream: those of these names, or all but ours."""
    # Bytes that are no UTF-8 stand in the path as surrogates, and go on as they came.
    pairs = parse_qsl(query, errors="surrogateescape")
    parameters = [
        (name, value)
        for name, value in pairs
        if (name != _OURS if names is None else name in names)
    ]
    return urlencode(parameters, errors="surrogateescape")


def _parse_reference(kind: ContentKind, text: str | None) -> Tag | Digest | None:
    if text is None:
        return None
    reference: Tag | Digest | None = parse_digest(text)
    if reference is None and kind is ContentKind.MANIFEST:
        reference = parse_tag(text)
    if reference is None:
        if kind is ContentKind.MANIFEST and (advice := plus_advice(text, parse_tag)):
            raise NameInvalid(advice)
        expected = "a tag or a digest" if kind is ContentKind.MANIFEST else "a digest"
        raise NameInvalid(
            f"{shorten(text)} is not {expected}; a digest is sha256: and 64 hex digits"
        )
    return reference


def _check_method(method: str, allowed: tuple[str, ...], path: str) -> None:
    if method not in allowed:
        raise MethodNotAllowed(
            f"{shorten(method)} is not possible at {path}: use {' or '.join(allowed)}",
            allowed=allowed,
        )
