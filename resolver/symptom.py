"""What is seen of a server that gives no answer, or none that can be used.

Whoever makes a connection knows how it failed; whoever judges a pull (`cause`) wants to
know no more than that. An error carries it from the one to the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """Who takes part in a pull, beside the client and this proxy."""

    REGISTRY = "registry"
    TOKEN = "token server"  # noqa: S105 - who issues them
    API = "API"
    STORAGE = "storage"


class Symptom(StrEnum):
    """How a connection or an answer fails."""

    NO_HOST = "no host"
    """DNS knows no such name."""
    NO_NAME_SERVER = "no name server"
    """Nobody who knows the name answers."""
    REFUSED = "refused"
    ITSELF = "itself"
    """Its address is that of this proxy."""
    NO_ROUTE = "no route"
    NO_CONNECTION = "no connection"
    """None in time."""
    PLAIN = "plain"
    """Plain HTTP is spoken where TLS was."""
    WANTS_TLS = "wants TLS"
    """TLS is spoken where plain HTTP was."""
    CERTIFICATE = "certificate"
    """It does not verify."""
    NO_TLS = "no TLS"
    """The handshake fails in another way."""
    SILENT = "silent"
    """No answer in time."""
    CLOSED = "closed"
    """The connection ends before an answer."""
    RESET = "reset"
    NO_HTTP = "no HTTP"
    """Something else is answered."""
    STALLED = "stalled"
    """An answer began, and no more of it came in time."""
    CUT = "cut"
    """An answer began, and the connection ended within it."""
    DAMAGED = "damaged"
    """What came is not what its digest says."""
    PROXY = "proxy"
    """The forward proxy on the way makes no connection."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a server: of a connection or of an answer."""

    symptom: Symptom | None = None
    words: str = ""
    """Those of the library about it: why a certificate does not verify, or what a
    forward proxy says."""
    proxy: str = ""
    """The forward proxy that the connection goes by."""
    status: int | None = None
    """Of the answer, if there was one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
