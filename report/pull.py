"""Decides what came of a pull, and which of its requests decided it."""

from bisect import insort
from dataclasses import dataclass, field
from enum import StrEnum

from mitm.story.fact import Fact
from mitm.story.record import DIGEST_LENGTH, Kind, Outcome
from report.request import Request


class Result(StrEnum):
    """What came of it; what is worse stands further down."""

    SERVED = "served"
    UNFINISHED = "unfinished"
    """Nothing went wrong, and nothing was sent: the client did not ask."""
    ABORTED = "aborted"
    REFUSED = "refused"
    LIMITED = "limited"
    UNAUTHORIZED = "unauthorized"
    FAILED = "failed"

    @property
    def is_bad(self) -> bool:
        """Whether whoever pulled has no image."""
        return self not in (Result.SERVED, Result.UNFINISHED)


_BAD = {
    Outcome.ABORTED: Result.ABORTED,
    Outcome.REFUSED: Result.REFUSED,
    Outcome.LIMITED: Result.LIMITED,
    Outcome.UNAUTHORIZED: Result.UNAUTHORIZED,
    Outcome.FAILED: Result.FAILED,
}
_RANKS = {result: rank for rank, result in enumerate(Result)}
CONTENT = frozenset({Kind.MANIFEST, Kind.BLOB, Kind.TAGS, Kind.REFERRERS})
"""The requests for what a client wants to have."""


@dataclass(slots=True)
class Pull:
    """The requests that one client made for one alias, near in time."""

    client: str
    alias: str
    requests: list[Request] = field(default_factory=list)
    """In the order of time; those that the proxy made are in them."""
    end: float = 0.0
    """When its last request was over."""

    def add(self, request: Request) -> None:
        """Let the request belong to the pull."""
        insort(self.requests, request, key=lambda one: one.begin)
        self.end = max(self.end, request.end, *(one.end for one in request.made))

    @property
    def begin(self) -> float:
        """When its first request began."""
        return self.requests[0].begin

    @property
    def rows(self) -> list[Request]:
        """Every request, each followed by those that were made for it."""
        return [row for one in self.requests for row in (one, *one.made)]

    @property
    def decisive(self) -> Request | None:
        """The request for which it is no success; None if it is one.

        Of requests for the same only the last one counts, because clients try again;
        and of those that ended as badly the first, because it led to the others.
        """
        last = {_subject(one): one for one in self.requests}
        bad = [one for one in last.values() if result_of(one, self.alias).is_bad]
        return max(bad, key=self._weight, default=None)

    @property
    def result(self) -> Result:
        """What came of the pull."""
        if decisive := self.decisive:
            return result_of(decisive, self.alias)
        is_served = any(
            one.kind in CONTENT and one.outcome is Outcome.SERVED
            for one in self.requests
        )
        return Result.SERVED if is_served else Result.UNFINISHED

    @property
    def bytes(self) -> int:
        """How many the client got of manifests and blobs."""
        return sum(one.sent for one in self.requests if one.kind in CONTENT)

    @property
    def agent(self) -> str:
        """What the client calls itself."""
        return next((one.agent for one in self.requests if one.agent), "")

    def fact(self, fact: Fact) -> str:
        """Return what is known of the alias, as it was known last."""
        about = (one.say_of(self.alias, fact) for one in reversed(self.requests))
        return next(filter(None, about), "")

    @property
    def location(self) -> str:
        """The beginning of the location."""
        return self.fact(Fact.LOCATION)

    @property
    def lifetime(self) -> int | None:
        """Seconds that the last token lives."""
        return next((s for r in reversed(self.requests) if (s := r.lifetime)), None)

    @property
    def token(self) -> Request | None:
        """The request for its last token."""
        tokens = (one for one in reversed(self.requests) if one.kind == Kind.TOKEN)
        return next(tokens, None)

    def _weight(self, request: Request) -> tuple[int, float]:
        return _RANKS[result_of(request, self.alias)], -request.begin


def result_of(request: Request, alias: str) -> Result:
    """Return what came of a request, for the alias."""
    if alias in request.refused:
        return Result.REFUSED
    if request.outcome in _BAD:
        return _BAD[request.outcome]
    is_served = request.outcome is Outcome.SERVED
    return Result.SERVED if is_served else Result.UNFINISHED


def reference_of(request: Request) -> str:
    """Return the tag, or the beginning of the digest, that was asked for."""
    if digest := request.say(Fact.DIGEST):
        return digest[:DIGEST_LENGTH]
    is_named = request.kind in (Kind.MANIFEST, Kind.BLOB, Kind.REFERRERS)
    return request.say(Fact.PATH).rpartition("/")[2] if is_named else ""


def _subject(request: Request) -> tuple[str, str]:
    """Return what was asked for."""
    return request.kind, request.say(Fact.DIGEST) or reference_of(request)
