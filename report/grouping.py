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
    sorting = _Sorting()
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


class _Sorting:
    """What was sorted so far."""

    def __init__(self) -> None:
        self.pulls: list[Pull] = []
        self.others: list[Request] = []
        self._last: dict[tuple[str, str], Pull] = {}
        self._bases: defaultdict[tuple[str, str], list[Request]] = defaultdict(list)

    @property
    def unclaimed(self) -> list[Request]:
        """Each ``GET /v2/`` after which no pull began."""
        return [base for bases in self._bases.values() for base in bases]

    def take(self, request: Request) -> None:
        """Put the request where it belongs."""
        if request.kind is Kind.BASE:
            self._bases[request.client, request.agent].append(request)
        elif request.kind in _OF_PULLS and request.aliases:
            for alias in request.aliases:
                self._pull(request, alias).add(request)
        else:
            self.others.append(request)

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
            last.add(self._bases[request.client, request.agent].pop())
        return last

    def _base(self, request: Request) -> Request | None:
        """Return the ``GET /v2/`` that came shortly before the request, if any.

        No client asks for a blob next, and none for anything after one that failed.
        """
        bases = self._bases[request.client, request.agent]
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
