"""The requests of a recording, sorted into pulls.

A client says nowhere that two requests belong together. So a pull is what one address
asks for under one alias, and these begin a new one:

- a request after a minute of silence;
- a request for a token or manifest after a new ``GET /v2/``, which docker, podman,
  buildah and skopeo begin each of their commands with, where the pull before was over:
  it had failed, or was silent for half a second;
- a request without a token for a manifest by its tag, which containerd begins with,
  where the pull before had a token already, or failed half a second ago or more.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mitm.story.record import CONTENT, Kind, Login
from report.pull import Pull
from report.request import Request

SILENCE_SECONDS = 60.0
"""Without a request, after which the next one is another pull."""
PAUSE_SECONDS = 0.5
"""Between the requests of one command, at most."""
BASE_SECONDS = 5.0
"""Between ``GET /v2/`` and the next request of the same command, at most."""
_LOOK_BACK = 100
"""Requests among which one is looked for that goes on and is in no pull."""
_OF_PULLS = CONTENT | {Kind.TOKEN}


@dataclass(frozen=True, slots=True)
class Groups:
    """The requests of a recording, sorted."""

    pulls: Sequence[Pull]
    """In the order of time."""
    others: Sequence[Request]
    """Those that belong to no pull, in the order of time."""

    @property
    def requests(self) -> list[Request]:
        """Every request of a client, each once."""
        of_pulls = {id(each): each for pull in self.pulls for each in pull.requests}
        others = (each for each in self.others if not each.record.is_own)
        return [*of_pulls.values(), *others]


def group_requests(requests: Iterable[Request]) -> Groups:
    """Sort requests, which come in the order of time, into pulls and others."""
    whole, orphans = _adopt(list(requests))
    sorting = Sorting()
    for request in whole:
        sorting.take(request)
    others = [*sorting.others, *sorting.unclaimed, *orphans]
    pulls = sorted(sorting.pulls, key=lambda pull: pull.begin)
    for number, pull in enumerate(pulls, 1):
        pull.number = number
    return Groups(pulls, sorted(others, key=lambda request: request.begin))


def _adopt(requests: list[Request]) -> tuple[list[Request], list[Request]]:
    """Put each request of the proxy's own into the one that it was made for.

    Return the requests of clients, and those of the proxy that were for none of them.
    """
    own: defaultdict[str, list[Request]] = defaultdict(list)
    for request in requests:
        if request.record.is_own:
            own[request.record.request_id].append(request)
    whole = [
        replace(request, own=tuple(own.pop(request.record.request_id, ())))
        for request in requests
        if not request.record.is_own
    ]
    return whole, [request for rest in own.values() for request in rest]


class Sorting:
    """What was sorted so far, of requests that are over or go on."""

    def __init__(self) -> None:
        self.pulls: list[Pull] = []
        self.others: list[Request] = []
        self._last: dict[tuple[str, str], Pull] = {}
        self._bases: dict[tuple[str, str], list[Request]] = {}
        self._running: dict[str, list[Pull]] = {}
        """The pulls of each request that is not over, by its id."""

    @property
    def unclaimed(self) -> list[Request]:
        """Each ``GET /v2/`` after which no pull began."""
        return [base for bases in self._bases.values() for base in bases]

    def take(self, request: Request) -> list[Pull]:
        """Put the request where it belongs, and return the pulls that it is part of.

        A request may come when it begins, and again whenever more is known of it.
        """
        pulls = self._running.pop(request.id, None)
        if pulls is None:
            pulls = [] if self._replace(request) else self._sort(request)
        for pull in pulls:
            pull.add(request)
        if pulls and not request.is_over:
            self._running[request.id] = pulls
        return pulls

    def forget(self, pull: Pull) -> None:
        """Keep the pull no longer."""
        self.pulls = [each for each in self.pulls if each is not pull]
        if self._last.get((pull.client, pull.alias)) is pull:
            del self._last[pull.client, pull.alias]
        for request in pull.requests:
            self._running.pop(request.id, None)

    def forget_others(self, most: int) -> None:
        """Keep of what belongs to no pull only the latest so many."""
        bases = sorted(self.unclaimed, key=lambda each: each.begin)[-most:]
        self._bases = {}
        for base in bases:
            self._bases.setdefault((base.client, base.agent), []).append(base)
        self.others = self.others[-most:]

    def _sort(self, request: Request) -> list[Pull]:
        """Return the pulls that a request belongs to which was not there before."""
        if request.kind is Kind.BASE:
            key = request.client, request.agent
            self._bases.setdefault(key, []).append(request)
        elif request.kind in _OF_PULLS and request.aliases:
            return [self._pull(request, alias) for alias in request.aliases]
        else:
            self.others.append(request)
        return []

    def _replace(self, request: Request) -> bool:
        """Put the request in the place of what was known of it, if it is in no pull."""
        bases = self._bases.get((request.client, request.agent), [])
        for known in (bases, self.others):
            for place in range(len(known) - 1, max(-1, len(known) - _LOOK_BACK), -1):
                if known[place].id == request.id:
                    known[place] = request
                    return True
        return False

    def _pull(self, request: Request, alias: str) -> Pull:
        """Return the pull that the request goes on with, or a new one."""
        key = request.client, alias
        last = self._last.get(key)
        base = self._base(request)
        if last is None or _begins(request, last, base):
            last = self._last[key] = Pull(request.client, alias)
            self.pulls.append(last)
        elif base and base.begin < last.begin:
            base = None
        if base:
            bases = self._bases[request.client, request.agent]
            last.add(bases.pop())
            if not base.is_over:
                self._running[base.id] = [last]
        return last

    def _base(self, request: Request) -> Request | None:
        """Return the ``GET /v2/`` that came shortly before the request, if any.

        No client asks for a blob next, and none for anything after one that failed.
        """
        bases = self._bases.get((request.client, request.agent))
        if not bases or bases[-1].is_bad or request.kind is Kind.BLOB:
            return None
        return bases[-1] if request.begin - bases[-1].end <= BASE_SECONDS else None


def _begins(request: Request, last: Pull, base: Request | None) -> bool:
    """Return whether the request begins another pull than the last one."""
    if request.begin - last.end > SILENCE_SECONDS:
        return True
    if request.kind not in (Kind.TOKEN, Kind.MANIFEST):
        return False
    if base and base.begin > last.requests[-1].begin:
        return last.is_bad or base.begin - last.end > PAUSE_SECONDS
    is_late = request.begin - last.end > PAUSE_SECONDS
    return (
        request.kind is Kind.MANIFEST
        and request.record.login is Login.NONE
        and not request.record.digest
        and (last.token is not None or (last.is_bad and is_late))
    )
