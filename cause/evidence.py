"""What was seen of a request that did not go well."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cause.finding import Role

BODY_LENGTH_MAX = 4096
"""Bytes of an answer's body that are looked at."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A request and its answer, or the lack of one, as the proxy saw them.

    Headers are by their names in lower case; logins are not among them.
    """

    role: Role | None
    """Who answered, or should have; None where the proxy itself did."""
    host: str = ""
    """Of whoever that is, with the port unless it is the usual one."""
    kind: str = ""
    """What was asked for: a `mitm.story.record.Kind`."""
    name: str = ""
    """The alias or repository."""
    method: str = "GET"
    request: Mapping[str, str] = field(default_factory=dict)
    """The headers of the request."""
    status: int | None = None
    """The answer's; None where there is none."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    """The beginning of an error's body."""
    failure: str = ""
    """Why there is no answer, or none to its end, in the words of whoever saw it."""
    is_client_gone: bool = False
    taken: int | None = None
    """Bytes of the body that came, where it broke off."""
    seconds: float | None = None
    """From the request's head to the end."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """Of the token that was sent, if it is a JWT."""
    login: str = ""
    """How the client logged in: a `mitm.story.record.Login`."""
    code: str = ""
    """The code of the error that the client was told."""
    message: str = ""
    """Its words."""
    now: float = 0.0
    """This machine's clock, in seconds since the epoch."""
