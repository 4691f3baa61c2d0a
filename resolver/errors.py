"""What can go wrong, and what the client is told: the errors of design section 7.

::

    RegistryError                   never raised itself
    ├── RequestError                also ValueError: the request is malformed
    │   ├── NameInvalid             400 NAME_INVALID   path, alias, tag, digest
    │   ├── RequestInvalid          400 UNSUPPORTED    host, header, form
    │   ├── RequestUnfinished       408 UNSUPPORTED    it does not come whole in time
    │   ├── LengthUnknown           411 UNSUPPORTED    a body without a length
    │   ├── BodyTooLong             413 UNSUPPORTED
    │   ├── HeadTooLong             431 UNSUPPORTED    request line and headers
    │   ├── GrantUnsupported        404 UNSUPPORTED    another grant than password
    │   └── EndpointUnknown         404 UNSUPPORTED    nothing is served there
    ├── MethodNotAllowed            405 UNSUPPORTED    push, delete
    ├── Refusal                     an alias cannot be pulled; carried in the token
    │   ├── AliasInvalid            400 NAME_INVALID   also ValueError
    │   ├── AccessDenied            403 DENIED         private or absent
    │   ├── ReleaseUnknown          404 NAME_UNKNOWN   no such release, no such image
    │   └── TargetUnknown           404 NAME_UNKNOWN   the same of `latest` alone
    ├── TokenError                  401 UNAUTHORIZED   answered with a challenge
    │   ├── TokenInvalid            the suffix of the token cannot be read
    │   └── ScopeInsufficient       the token does not carry the alias
    ├── ContentUnknown              what none of an alias's releases has
    │   ├── TagUnknown              404 MANIFEST_UNKNOWN   no tag selects it
    │   └── BlobUnknown             404 BLOB_UNKNOWN
    ├── RangeUnsatisfiable          416 UNSUPPORTED    no byte is in the range
    ├── CredentialRejected          401 UNAUTHORIZED   wrong or expired API key
    ├── RateLimited                 429 TOOMANYREQUESTS
    ├── ServiceUnavailable          503 UNAVAILABLE    the API is down, slow, senseless
    │   ├── AnswerUnreadable        502 UNAVAILABLE    its content cannot be unpacked
    │   ├── LoopDetected            508 UNAVAILABLE    the proxy would ask itself
    │   ├── RedirectRefused         502 UNAVAILABLE    a blob is where none may be
    │   └── RealmRefused            502 UNAVAILABLE    no login goes to such a realm
    └── InternalError               500 UNKNOWN        a bug of ours

The body is that of the OCI distribution specification, "Error Codes":
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
"""

import json
from enum import StrEnum
from typing import ClassVar, Self

from resolver.symptom import Role, Seen

RETRY_AFTER_DEFAULT = 10
"""Seconds that a client is told to wait where nobody named another time."""
API_VERSION_HEADER = ("Docker-Distribution-Api-Version", "registry/2.0")


class ErrorCode(StrEnum):
    """The codes of the OCI specification that this proxy uses, and Docker's two."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNSUPPORTED = "UNSUPPORTED"
    UNAVAILABLE = "UNAVAILABLE"
    """Docker's registry, "service unavailable"."""
    UNKNOWN = "UNKNOWN"
    """Docker's registry, "unknown error"."""


class Reason(StrEnum):
    """Why there is no answer of registry or API that could be used."""

    CONNECTION = "connection"
    """It could not be reached, or the connection broke."""
    TIMEOUT = "timeout"
    TLS = "tls"
    """Its certificate does not verify, or there was no handshake."""
    STATUS = "status"
    """It answered with a status of failure."""
    SENSELESS = "senseless"
    """It answered with what could not be read."""
    LIMITED = "limited"
    """It limits the rate."""
    BUSY = "busy"
    """It was not asked: the proxy waits for too many answers already."""


class RegistryError(Exception):
    """The root: an error that has an OCI code, a status and a message for the user.

    The message names the value at fault and what would have worked,
    never a credential or a location.
    """

    code: ClassVar[ErrorCode]
    status: ClassVar[int]
    # Most errors have neither, and those in tokens are kept in memory.
    role: Role | None = None
    """Who is at fault."""
    seen: Seen = Seen()
    """What was seen of it."""

    def __init__(
        self, message: str, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Keep the message, and the headers that the answer has beside the usual."""
        super().__init__(message)
        self.message = message
        self.headers = headers
        self.server = ""
        """The URL of the one at fault, without a path: for the log alone."""
        self.cause = ""
        """Why that gave no answer, in words: for the log alone."""

    @property
    def explanation(self) -> str:
        """Which server is at fault, and why: for the log, and not for clients."""
        if self.cause:
            return f"{self.server} does not answer: {self.cause}"
        return f"by {self.server}" if self.server else ""

    @property
    def in_log(self) -> str:
        """The message with the explanation, if there is one."""
        return (
            f"{self.message} ({self.explanation})" if self.explanation else self.message
        )

    def blame(self, server: str, role: Role | None = None) -> None:
        """Say whose fault it is, unless that is known already."""
        self.server = self.server or server
        if role and self.role is None:
            self.role = role

    @classmethod
    def with_retry_after(cls, message: str, seconds: int) -> Self:
        """Return the error with a ``Retry-After`` header, in seconds."""
        return cls(message, headers=(("Retry-After", str(seconds)),))


class RequestError(RegistryError, ValueError):
    """The request itself is malformed."""


class NameInvalid(RequestError):
    """A path, name, tag or digest breaks the grammar."""

    code, status = ErrorCode.NAME_INVALID, 400


class RequestInvalid(RequestError):
    """A host, header or form breaks the grammar."""

    code, status = ErrorCode.UNSUPPORTED, 400


class RequestUnfinished(RequestError):
    """A request is not whole after the time that it has."""

    code, status = ErrorCode.UNSUPPORTED, 408


class LengthUnknown(RequestError):
    """A body does not say how long it is."""

    code, status = ErrorCode.UNSUPPORTED, 411


class BodyTooLong(RequestError):
    """A body is longer than the one that is taken, the form of a token request."""

    code, status = ErrorCode.UNSUPPORTED, 413


class HeadTooLong(RequestError):
    """Request line and headers are longer than is taken (RFC 6585 section 5)."""

    code, status = ErrorCode.UNSUPPORTED, 431


class GrantUnsupported(RequestError):
    """A form for a token is of another grant than password (rule R5).

    It is answered as where there is no POST at all: clients then ask with GET.
    """

    code, status = ErrorCode.UNSUPPORTED, 404


class EndpointUnknown(RequestError):
    """Nothing is served at the path."""

    code, status = ErrorCode.UNSUPPORTED, 404


class MethodNotAllowed(RegistryError):
    """The endpoint exists and does not take this method."""

    code, status = ErrorCode.UNSUPPORTED, 405

    def __init__(self, message: str, *, allowed: tuple[str, ...]) -> None:
        """Say which methods are allowed, as RFC 9110 section 15.5.6 demands."""
        super().__init__(message, headers=(("Allow", ", ".join(allowed)),))


class Refusal(RegistryError):
    """An alias cannot be pulled by this client; the token carries it (rule R8)."""


class AliasInvalid(Refusal, ValueError):
    """A name is no alias and no location."""

    code, status = ErrorCode.NAME_INVALID, 400


class AccessDenied(Refusal):
    """The application is private or does not exist: the client cannot tell (S11)."""

    code, status = ErrorCode.DENIED, 403


class ReleaseUnknown(Refusal):
    """The application is there; a release or image as asked for is not."""

    code, status = ErrorCode.NAME_UNKNOWN, 404


class TargetUnknown(Refusal):
    """There is no target release to pull, though tags select others.

    A token carries it as a `ReleaseUnknown`, beside the others.
    """

    code, status = ErrorCode.NAME_UNKNOWN, 404

    def __init__(self, message: str, candidates: object) -> None:
        """Keep the candidates that tags select among."""
        super().__init__(message)
        self.candidates = candidates


class TokenError(RegistryError):
    """The token does not serve for the request; answered with a fresh challenge."""

    code, status = ErrorCode.UNAUTHORIZED, 401
    error: ClassVar[str]
    """The challenge's ``error``, RFC 6750 section 3.1."""
    service: str | None = None
    """The registry's own name, for the challenge."""


class TokenInvalid(TokenError):
    """The suffix of the token cannot be read (design section 5)."""

    error = "invalid_token"


class ScopeInsufficient(TokenError):
    """The token does not carry the alias that is asked for (rule R7)."""

    error = "insufficient_scope"

    def __init__(self, message: str, *, name: str = "") -> None:
        """Keep the name that a token is needed for, where the path has another."""
        super().__init__(message)
        self.name = name


class ContentUnknown(RegistryError):
    """The alias can be pulled; what is asked for is none of its releases'."""


class TagUnknown(ContentUnknown):
    """No release is selected by the tag, or none that can be pulled by one."""

    code, status = ErrorCode.MANIFEST_UNKNOWN, 404


class BlobUnknown(ContentUnknown):
    """None of the releases that tags select has an image to look into."""

    code, status = ErrorCode.BLOB_UNKNOWN, 404


class RangeUnsatisfiable(RegistryError):
    """No byte of what is asked for is in the range that is asked for."""

    code, status = ErrorCode.UNSUPPORTED, 416


class CredentialRejected(RegistryError):
    """The API does not know the key."""

    code, status = ErrorCode.UNAUTHORIZED, 401


class RateLimited(RegistryError):
    """The API or the registry limits the rate."""

    code, status = ErrorCode.TOOMANYREQUESTS, 429


class ServiceUnavailable(RegistryError):
    """The API or the registry is down, slow or senseless."""

    code, status = ErrorCode.UNAVAILABLE, 503
    reason: Reason | None = None
    """Why, for the metrics; None where neither of the two is at fault."""

    def blame(self, server: str, role: Role | None = None) -> None:
        """Say whose fault it is; nobody's where the proxy itself is busy."""
        if self.reason is not Reason.BUSY:
            super().blame(server, role)

    @classmethod
    def because(cls, reason: Reason, message: str) -> Self:
        """Return the error for something that may be over in a few seconds."""
        error = cls.with_retry_after(message, RETRY_AFTER_DEFAULT)
        error.reason = reason
        return error


class AnswerUnreadable(ServiceUnavailable):
    """The registry's answer is packed in a way that cannot be undone."""

    status = 502


class LoopDetected(ServiceUnavailable):
    """A request that this process sent came back to it (RFC 5842 section 7.2)."""

    status = 508


class RedirectRefused(ServiceUnavailable):
    """The registry redirects a blob to where the proxy does not follow."""

    status = 502
    reason = Reason.SENSELESS


class RealmRefused(ServiceUnavailable):
    """The registry has tokens issued where no login for it may go."""

    status = 502
    reason = Reason.SENSELESS


class InternalError(RegistryError):
    """A bug of ours; the log has the traceback."""

    code, status = ErrorCode.UNKNOWN, 500


REFUSALS: dict[ErrorCode, type[Refusal]] = {
    leaf.code: leaf for leaf in (AliasInvalid, AccessDenied, ReleaseUnknown)
}
"""The refusals by the code under which a token carries them."""


def error_body(code: ErrorCode, message: str) -> bytes:
    """Return the OCI error body with one error in it, as JSON."""
    errors = [{"code": code, "message": message, "detail": None}]
    return json.dumps({"errors": errors}).encode()
