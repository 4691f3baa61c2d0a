"""What happens while the resolver works, as events, and whoever wants to know of them.

Metrics, health and the proxy's own requests learn everything here. But for `Call`, no
event has an alias or a credential in it: metrics are read by more people than logs, and
every new value would be kept for ever.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from resolver.errors import Reason

SEPARATOR = ", "
"""Between several aliases of one `purpose`."""

purpose: ContextVar[str] = ContextVar("purpose", default="")
"""The alias or aliases that registry and API are asked for at the moment."""


class Part(StrEnum):
    """What a pull needs beside this proxy."""

    REGISTRY = "registry"
    API = "api"


class CacheState(StrEnum):
    """Where the outcome of a look-up, or a blob, came from."""

    HIT = "hit"
    """It was remembered, or kept."""
    MISS = "miss"
    """API or registry was asked."""
    SHARED = "shared"
    """API or registry was being asked by somebody else already."""
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


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to registry, API or storage, and what came of it.

    A request that is tried again makes several.
    """

    url: str
    authorization: str | None = field(repr=False)
    begin: float
    """Seconds since the epoch, as is `end`."""
    end: float
    status: int | None
    """None where there was no answer."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)
    failure: str = ""
    """Why there was no answer."""
    method: str = "GET"
    is_search: bool = False
    """Whether it asks where a blob is stored: its URLs may be signed."""
    is_grant: bool = False
    """Whether it passes a client's request for a token on: its answer is a token, and
    its query may name a user."""
    purpose: str = ""
    """The alias or aliases that it was made for."""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to the API is over, whatever came of it; a try again is another."""

    endpoint: Endpoint
    seconds: float


@dataclass(frozen=True, slots=True)
class LookUp:
    """An alias was looked up."""

    result: Result
    state: CacheState


@dataclass(frozen=True, slots=True)
class Failure:
    """Registry or API gave no answer that could be used, or was not asked."""

    part: Part
    reason: Reason


@dataclass(frozen=True, slots=True)
class Contact:
    """Registry or API gave a sound answer."""

    part: Part


type Event = Call | ApiRequest | LookUp | Failure | Contact


class Observer(Protocol):
    """Takes note of events. Called from the event loop and from worker threads.

    A `Call` is noted in the context of whoever asked.
    """

    def note(self, event: Event) -> None:
        """Take note of an event, or ignore it."""


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = list(observers)

    def add(self, observer: Observer) -> None:
        """Tell one more of what happens from now on."""
        self._observers.append(observer)

    def note(self, event: Event) -> None:
        """Let each observer take note."""
        for observer in self._observers:
            observer.note(event)


NOBODY: Observer = Observers()
