"""Who wants to know how resolving goes: the vocabulary of the metrics.

What is told has no alias and no credential in it: metrics are read by more people than
logs, and every new value would be kept for ever.
"""

from enum import StrEnum
from typing import Protocol


class Part(StrEnum):
    """What a pull needs beside this proxy."""

    REGISTRY = "registry"
    API = "api"


class CacheState(StrEnum):
    """Where the outcome of a look-up came from."""

    HIT = "hit"
    """It was remembered."""
    MISS = "miss"
    """The API was asked."""
    SHARED = "shared"
    """The API was being asked by somebody else already."""
    STALE = "stale"
    """The API failed, and what was remembered served beyond its time."""


class Result(StrEnum):
    """What came of a look-up."""

    FOUND = "found"
    REFUSED = "refused"
    FAILED = "failed"


class Endpoint(StrEnum):
    """What of the API is asked."""

    RELEASE = "release"
    TOKEN = "token"  # noqa: S105 - no password


class Reason(StrEnum):
    """Why registry or API gave no answer that could be used."""

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


class Observer(Protocol):
    """Whoever counts. Called from the event loop and from worker threads."""

    def resolved(self, result: Result, state: CacheState) -> None:
        """Take note of a look-up."""

    def asked(self, endpoint: Endpoint, seconds: float) -> None:
        """Take note of a request to the API, with its retries, whatever came of it."""

    def failed(self, part: Part, reason: Reason) -> None:
        """Take note that registry or API gave no answer that could be used."""


class Nobody:
    """Takes note of nothing."""

    def resolved(self, result: Result, state: CacheState) -> None:
        """Leave a look-up uncounted."""

    def asked(self, endpoint: Endpoint, seconds: float) -> None:
        """Leave a request uncounted."""

    def failed(self, part: Part, reason: Reason) -> None:
        """Leave a failure uncounted."""


NOBODY = Nobody()
