"""A pull: what came of it, and which of its requests decided that."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mitm.story.alias import AliasRecord
from mitm.story.kind import CONTENT, Kind, Outcome
from report.request import BAD_OUTCOMES, Request
from resolver.upstream.observer import CacheState


@dataclass(slots=True, eq=False)
class Pull:
    """The requests that one client made for one alias, near in time."""

    client: str
    alias: str
    requests: list[Request] = field(default_factory=list)
    """In the order of time; those that the proxy made are in them."""
    number: int = 0
    """Its place among all, in the order of time."""
    left_out: int = 0
    """How many requests are not kept any more."""
    left_out_bytes: int = 0
    """How many bytes the client got with these."""
    has_content: bool = False
    """Whether more was asked for than a token."""
    _end: float = 0.0
    """When the last of those that are over was over."""
    _running: list[Request] = field(default_factory=list)
    """Those that may not be over."""

    def add(self, request: Request) -> Request:
        """Let the request belong to the pull, or bring it up to date, and return it."""
        self.has_content = self.has_content or request.kind in CONTENT
        first = bisect_left(self.requests, request.begin, key=_begin)
        after = bisect_right(self.requests, request.begin, key=_begin)
        for known in self.requests[first:after]:
            if known.id == request.id:
                known.update(request)
                return known
        self.requests.insert(after, request)
        self._running.append(request)
        return request

    @property
    def end(self) -> float:
        """When its last request was over; of one under way, as far as is known."""
        self._settle()
        return max([self._end, *(each.end for each in self._running)])

    def silence(self, at: float) -> float:
        """Return how many seconds before that moment nothing was under way."""
        return 0.0 if self.is_running else at - self.end

    @property
    def is_running(self) -> bool:
        """Whether one of its requests is not over."""
        self._settle()
        return bool(self._running)

    def _settle(self) -> None:
        """Look only once at what is over; a pull may have thousands of requests."""
        over = [each for each in self._running if each.is_over]
        if over:
            ends = (end for each in over for end in (each, *each.own))
            self._end = max([self._end, *(each.end for each in ends)])
            self._running = [each for each in self._running if not each.is_over]

    @property
    def begin(self) -> float:
        """When its first request began."""
        return self.requests[0].begin

    @property
    def rows(self) -> list[Request]:
        """Every request, each followed by those that were made for it."""
        return [row for each in self.requests for row in (each, *each.own)]

    @property
    def decisive(self) -> Request | None:
        """The request for which it is no success; None if it is one.

        Of requests for the same only the last one counts, because clients try again;
        where the client gave that up, what had failed before it. Of those that ended as
        badly it is the first, because it led to the others.
        """
        last = {_subject(each): each for each in self.requests}
        bad = [r for r in last.values() if r.outcome_for(self.alias) in BAD_OUTCOMES]
        told = (self._failed_before(each) or each for each in bad)
        return max(told, key=self._weight, default=None) or self._lost

    def alike(self, request: Request) -> Sequence[Request]:
        """Return the requests for the same, of which the same is wrong."""
        return [
            each
            for each in self.requests
            if _subject(each) == _subject(request)
            and each.record.finding == request.record.finding
        ]

    def is_given_up(self, request: Request) -> bool:
        """Return whether the client went away when it asked for the same again."""
        last = [each for each in self.requests if _subject(each) == _subject(request)]
        return last[-1] is not request and last[-1].record.outcome is Outcome.ABORTED

    @property
    def result(self) -> Outcome | None:
        """What came of it; None where nothing went wrong, and nothing was sent."""
        if decisive := self.decisive:
            outcome = decisive.outcome_for(self.alias)
            return Outcome.ABORTED if outcome is Outcome.CHALLENGED else outcome
        outcomes = (each.record.outcome for each in self._content)
        return Outcome.SERVED if Outcome.SERVED in outcomes else None

    @property
    def is_bad(self) -> bool:
        """Whether whoever pulled has no image."""
        return self.decisive is not None

    @property
    def bytes(self) -> int:
        """How many the client got of manifests and blobs."""
        return sum(each.sent for each in self._content) + self.left_out_bytes

    @property
    def total(self) -> int | None:
        """How many it gets, as far as answers said so by now; None where none did."""
        transfers = [each for each in self._content if each.is_transfer]
        total = self.left_out_bytes
        for each in transfers:
            if each.is_over and not each.is_bad:
                total += each.sent
            elif each.total is None:
                return None
            else:
                total += each.total
        return total if transfers else None

    @property
    def broken(self) -> Sequence[Request]:
        """The requests for content that failed, whatever came of the next ones."""
        return [e for e in self._content if e.record.outcome is Outcome.FAILED]

    @property
    def redirected(self) -> Mapping[str, int]:
        """How many blobs the client was sent for elsewhere, by host."""
        hosts = {
            each.record.digest: each.led_to
            for each in self._content
            if each.record.is_redirected and not each.is_bad
        }
        return Counter(hosts.values())

    @property
    def kept(self) -> int:
        """How many of these were in the cache."""
        hits = (e for e in self._content if e.record.cache is CacheState.HIT)
        return sum(each.sent for each in hits)

    @property
    def agent(self) -> str:
        """What the client calls itself; for a ping or a token it may let a library."""
        requests = (*self._content, *reversed(self.requests))
        return next((each.agent for each in requests if each.agent), "")

    @property
    def target(self) -> AliasRecord:
        """What is known of the alias, as it was known last."""
        target = AliasRecord(self.alias)
        for request in self.requests:
            target.update(request.about(self.alias))
        return target

    @property
    def given(self) -> AliasRecord:
        """The same, without a release where it was refused: another tag has that."""
        is_refused = self.result is Outcome.REFUSED
        return AliasRecord(self.alias) if is_refused else self.target

    @property
    def tag(self) -> str:
        """The tag that was asked for, if there was one."""
        manifests = (
            each.record for each in self.requests if each.kind is Kind.MANIFEST
        )
        return next((each.reference for each in manifests if not each.digest), "")

    @property
    def lifetime(self) -> int | None:
        """Seconds that the last token lives."""
        return next((s for r in reversed(self.requests) if (s := r.lifetime)), None)

    @property
    def token(self) -> Request | None:
        """The request for its last token."""
        tokens = (each for each in reversed(self.requests) if each.kind is Kind.TOKEN)
        return next(tokens, None)

    def shorten(self, most: int) -> list[Request]:
        """Keep no more requests than that, and return the others.

        Of those that are over the bad ones stay.
        """
        ending = [each for each in self.requests[1:] if each.is_over]
        ending.sort(key=lambda each: each.is_bad)
        gone = ending[: max(0, len(self.requests) - most)]
        self.left_out += len(gone)
        self.left_out_bytes += sum(r.sent for r in gone if r.kind in CONTENT)
        ids = {id(each) for each in gone}
        self.requests = [each for each in self.requests if id(each) not in ids]
        return gone

    @property
    def _content(self) -> Iterator[Request]:
        return (each for each in self.requests if each.kind in CONTENT)

    @property
    def _lost(self) -> Request | None:
        """The request after which the client was not seen again, if that was told."""
        record = self.requests[-1].record
        is_lost = record.outcome is Outcome.CHALLENGED and record.finding is not None
        return self.requests[-1] if is_lost else None

    def _failed_before(self, last: Request) -> Request | None:
        """Return the failure with a known cause after which the client gave up."""
        if last.record.outcome is not Outcome.ABORTED:
            return None
        before = [each for each in self.requests if _subject(each) == _subject(last)]
        for each in reversed(before):
            if each.record.outcome is Outcome.FAILED and each.record.finding:
                return each
            if each.record.outcome is Outcome.SERVED:
                return None
        return None

    def _weight(self, request: Request) -> tuple[bool, int, float]:
        """Return how much it decides; who pushes looks before what is there."""
        outcome = BAD_OUTCOMES.index(request.outcome_for(self.alias) or Outcome.ABORTED)
        return request.kind is Kind.PUSH, outcome, -request.begin


def _begin(request: Request) -> float:
    return request.begin


def _subject(request: Request) -> tuple[str, str]:
    """Return what was asked for."""
    return request.kind, request.record.digest or request.record.reference
