"""What was asked for, by whom, and how it ended: the names that records have for it."""

from enum import StrEnum


class Kind(StrEnum):
    """What was asked for."""

    PING = "ping"
    READY = "ready"
    BASE = "base"
    TOKEN = "token"  # noqa: S105 - no password
    MANIFEST = "manifest"
    BLOB = "blob"
    TAGS = "tags"
    REFERRERS = "referrers"
    CATALOG = "catalog"
    PUSH = "push"
    """To write, or to delete, which is not possible."""
    HANDSHAKE = "handshake"
    """TLS with a client that then asked for nothing."""
    OTHER = "other"
    """Nothing that is served, or nothing that could be read."""


class OwnKind(StrEnum):
    """What the proxy itself asked for, to answer a client's request."""

    PROBE = "probe"
    """Which API the registry belongs to; asked once, at the first need."""
    RESOLUTION = "resolution"
    """Which releases there are."""
    GRANT = "grant"
    """A token."""
    SEARCH = "search"
    """Where a blob is stored: what the proxy asks for the client of a blob."""
    CHOICE = "choice"
    """Which of several locations has something, where tags select."""


CONTENT = frozenset({Kind.MANIFEST, Kind.BLOB, Kind.TAGS, Kind.REFERRERS})
"""The requests for what a client wants to have."""
OWN_KINDS = tuple(OwnKind)
API_KINDS = frozenset({OwnKind.RESOLUTION, OwnKind.GRANT})
"""What the API is asked; the rest of the proxy's own requests go to the registry."""


class Outcome(StrEnum):
    """How it ended."""

    SERVED = "served"
    CHALLENGED = "challenged"
    """The client was told to get a token, and comes back with one."""
    REFUSED = "refused"
    """It asked for what there is not, or may not be."""
    UNAUTHORIZED = "unauthorized"
    """Its key or token is wrong, or its time is over."""
    LIMITED = "limited"
    """The rate is limited."""
    FAILED = "failed"
    """Registry, API or this proxy could not answer, or not to the end."""
    ABORTED = "aborted"
    """The client went away."""


REFUSALS_AND_FAILURES = frozenset(
    {Outcome.REFUSED, Outcome.UNAUTHORIZED, Outcome.LIMITED, Outcome.FAILED}
)


class Mover(StrEnum):
    """Who moves the bytes of a blob, which this proxy does not see."""

    NGINX = "nginx"
    """nginx sends it to the client."""
    NGINX_FETCH = "nginx-fetch"
    """nginx was told where it is, to fetch and keep it, or a part of it."""


class Login(StrEnum):
    """What the client sent to prove who it is."""

    NONE = "none"
    KEY = "key"
    """A user name and an API key, to the token endpoint."""
    TOKEN = "token"  # noqa: S105 - no password
