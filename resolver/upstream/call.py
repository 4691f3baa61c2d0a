"""Decides what is told of each HTTP request of the resolver's own.

For whoever wants to see how a release was found: counting is `observer`'s.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

SEPARATOR = ", "
"""Between several aliases."""

purpose: ContextVar[str] = ContextVar("purpose", default="")
"""For which alias the API is asked, or for which aliases."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request, and what came of it; one that is tried again makes several."""

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
    """Why there was none."""
    method: str = "GET"
    is_search: bool = False
    """Whether it asks where a blob is stored: its URLs may be signed."""


type Tap = Callable[[Attempt], None]
"""Whoever is told; called from worker threads, in the context of who asked."""


def ignore(_attempt: Attempt) -> None:
    """Tell nobody."""
