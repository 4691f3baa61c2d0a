"""Requests, sorted into pulls: of a recording, or as they begin.

A client says nowhere that two requests belong together. What proves that they are of
one client is in `report.party`: a connection, or a token. Seen with the clients of
today, over plain HTTP:

- docker's classic store has a connection for each request; from the answer with the
  token on, all requests have that token, and nothing proves whose ping it was;
- docker with containerd's store and BuildKit ask for the token on another connection,
  and as ``containerd/…``, then for the manifest on the first one again, with the token;
- ctr and the CRI are two clients of which nothing proves that they are one: who finds
  the digest, and who fetches what has it, each with connections and a token of its own;
- podman and crane keep the connection of their ping, skopeo mostly does not, and oras
  does not keep that of its first manifest; all go on with the token, on up to six.

A request that nothing links to a client goes on with the one pull that it can go on
with. Where several could be meant it begins a pull of its own, or belongs to none; and
for each that so begins in the middle, one beginning that nothing goes on with is none.

Within one client a pull is what is asked for under one alias. These begin a new one:

- a request after a minute of silence;
- a request for a token or manifest after a new ``GET /v2/``, which docker, podman,
  buildah and skopeo begin each of their commands with, where the pull before was over:
  it had failed, or was silent for half a second;
- a request without a token for a manifest by its tag, which containerd begins with,
  where the pull before had a token already, or failed half a second ago or more;
- a request for a manifest by its tag that the pull before was given half a second ago
  or more, as from BuildKit, which keeps its token;
- a push, half a second or more after the pull before was given something.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from mitm.story.kind import CONTENT, Kind
from report.beginning import (
    BASE_SECONDS,
    BEGINNINGS,
    SILENCE_SECONDS,
    begins,
    has,
    is_beginning,
    is_first,
    is_found,
    is_silent,
    is_traced,
    may_ask,
    may_follow,
    waits_for_token,
)
from report.party import Parties, Party, is_open, may_ping
from report.pull import Pull
from report.request import Request
from resolver.upstream.share import household

RIVALS_MAX = 20
"""Pulls of one address and alias that a request without a link is held against."""
OLD_DOUBTS_MAX = 100
"""Pulls that are remembered because nobody can tell any more by which they began."""
DOUBTS_MAX = 16
"""Of those who began last; a crowd's are not resolved, or each request takes long."""
_OF_PULLS = CONTENT | {Kind.TOKEN, Kind.PUSH}


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
    pulls = sorted(sorting.pulls, key=lambda pull: pull.begin)
    for number, pull in enumerate(pulls, 1):
        pull.number = number
    others = [*sorting.others, *orphans]
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


@dataclass(frozen=True, slots=True, eq=False)
class _Doubt:
    """A pull that may have begun by one of several others."""

    pull: Pull
    begun: Sequence[tuple[Pull, int]]
    """These, with how many requests each had."""


class Sorting:
    """What was sorted so far, of requests that are over or go on."""

    def __init__(self) -> None:
        self._pulls: dict[Pull, Party] = {}
        self._places: dict[str, list[Pull]] = {}
        """The pulls of each request, by its id."""
        self._running: dict[str, Request] = {}
        """The requests that are not over, by their ids."""
        self._open: defaultdict[tuple[str, str], list[Pull]] = defaultdict(list)
        """Those that an unlinked request may go on with, by address and alias."""
        self._parties = Parties()
        self._doubts: list[_Doubt] = []
        """Those that may still be resolved."""
        self._old_doubts: list[_Doubt] = []
        self._shared: set[Pull] = set()
        """Those with a token for several aliases."""
        self._others: dict[str, Request] = {}
        self._loose: defaultdict[str, list[Request]] = defaultdict(list)
        """Of the others, those whose connection may tell more, by that."""
        self._bases: defaultdict[str, list[Request]] = defaultdict(list)
        """Of the others, each ``GET /v2/``, by address."""
        self._joined: list[Pull] = []

    @property
    def pulls(self) -> list[Pull]:
        """The pulls, in the order in which they were noticed."""
        hidden = self.hidden
        return [pull for pull in self._pulls if pull not in hidden]

    @property
    def hidden(self) -> set[Pull]:
        """Those that are none: beginnings of others, and names that came to nothing.

        A tag has a name of its own, for which the client gets a token as well.
        """
        hidden = set(filter(self._is_idle, self._shared))
        for doubt in (*self._old_doubts, *self._doubts):
            if doubt.pull in self._pulls:
                left = (each for each in self._left(doubt) if each not in hidden)
                hidden.update(islice(left, 1))
        return hidden

    @property
    def others(self) -> list[Request]:
        """Those that belong to no pull."""
        hidden = self.hidden
        begun = {
            each.id: each
            for pull in hidden
            for each in pull.requests
            if hidden.issuperset(self._places[each.id])
        }
        return [*self._others.values(), *begun.values()]

    def take(self, request: Request) -> list[Pull]:
        """Put the request where it belongs, and return the pulls that it is part of.

        A request may come when it begins, and again whenever more is known of it, also
        after it was over.
        """
        known = self._running.pop(request.id, None) or self._known(request.id)
        if known:
            was_open = is_open(known)
            known.update(request)
            if is_open(known) and not was_open:
                self._open_up(known)
        elif request.kind in _OF_PULLS and request.aliases:
            self._sort(request)
            self._resolve_doubts(request.begin)
        else:
            self._set_aside(request)
        if not request.is_over:
            self._running[request.id] = known or request
        return self._places.get(request.id, [])

    def joined(self) -> list[Pull]:
        """Return those that turned out to be part of others since this was asked."""
        joined, self._joined = self._joined, []
        return joined

    def shorten(self, pull: Pull, most: int) -> None:
        """Keep no more of the pull's requests than that."""
        for request in pull.shorten(most):
            self._displace(request, pull)

    def forget(self, pull: Pull) -> list[Pull]:
        """Keep neither the pull nor those that are part of it; return all of them."""
        near = {each: None for r in pull.requests for each in self._places[r.id]}
        gone = [
            each
            for each in near
            if all(pull in self._places[request.id] for request in each.requests)
        ]
        for each in gone:
            self._forget(each)
        return gone

    def _forget(self, pull: Pull) -> None:
        for doubts in (self._doubts, self._old_doubts):
            doubts[:] = (
                doubt
                for doubt in doubts
                if pull not in (doubt.pull, *(begun for begun, _ in doubt.begun))
            )
        party = self._pulls[pull].proven
        self._drop(pull)
        gone = {each.id for each in pull.requests if each.id not in self._places}
        for request_id in gone:
            self._running.pop(request_id, None)
        self._parties.forget_requests(gone)
        if not any(owner.proven is party for owner in self._pulls.values()):
            self._parties.forget(party)

    def forget_others(self, most: int) -> None:
        """Keep of what belongs to no pull only so many.

        Who has the most loses the oldest, and a finding last.
        """
        shares = Counter(household(each.client) for each in self._others.values())
        while len(self._others) > most:
            gone = min(
                self._others.values(),
                key=lambda each: (
                    -shares[household(each.client)],
                    each.record.finding is not None,
                    each.begin,
                ),
            )
            shares[household(gone.client)] -= 1
            self._take_back(gone)
            self._running.pop(gone.id, None)

    def _known(self, request_id: str) -> Request | None:
        """Return the request that was over, if it is kept."""
        if request_id in self._others:
            return self._others[request_id]
        pulls = self._places.get(request_id, ())
        requests = (each for pull in pulls for each in pull.requests)
        return next((each for each in requests if each.id == request_id), None)

    def _displace(self, request: Request, pull: Pull) -> None:
        """Let the request belong to the pull no longer."""
        places = [each for each in self._places[request.id] if each is not pull]
        self._places[request.id] = places
        if not places:
            del self._places[request.id]

    def _set_aside(self, request: Request) -> None:
        """Let the request belong to no pull, unless its connection tells more."""
        self._others[request.id] = request
        if request.connection:
            self._loose[request.connection].append(request)
        if request.kind is Kind.BASE:
            self._bases[request.client].append(request)

    def _take_back(self, request: Request) -> None:
        """Let the request be none of the others any more."""
        self._others.pop(request.id, None)
        for index, key in (
            (self._loose, request.connection or ""),
            (self._bases, request.client),
        ):
            if key in index:
                index[key] = [each for each in index[key] if each is not request]
                if not index[key]:
                    del index[key]

    def _sort(self, request: Request) -> None:
        """Put a request that names an alias into a pull, if it can be told in which."""
        proven = self._parties.of(request)
        rivals = [] if proven else self._rivals(request)
        if proven:
            party = proven[0]
            for other in proven[1:]:
                party = self._unite(party, other)
        elif len(rivals) == 1 and not self._is_doubtful(rivals[0]):
            party = self._pulls[rivals.pop()].proven
        elif rivals and request.kind not in BEGINNINGS:
            self._set_aside(request)
            return
        else:
            party = Party()
        base = self._base(request, is_proven=bool(proven))
        begun = [
            (rival, len(rival.requests))
            for rival in rivals[-RIVALS_MAX:]
            if is_beginning(rival, request.begin)
        ]
        for alias in request.aliases:
            pull = self._pull(request, alias, party, base)
            if begun:
                self._doubts.append(_Doubt(pull, begun))
        self._parties.add(request, party)
        self._claim(request, party)
        if (token := self._parties.token_of(request)) and request.aliases:
            self._lead(token, party.pulls[request.aliases[0]])

    def _open_up(self, request: Request) -> None:
        """Take who pulls without a token for the others of its address and name."""
        for pull in self._places.get(request.id, ()):
            party = self._pulls[pull].proven
            for other in self._parties.of(request):
                if other is not party:
                    party = self._unite(party, other)
            self._parties.add(request, party)
            return

    def _pull(
        self, request: Request, alias: str, party: Party, base: Request | None
    ) -> Pull:
        """Return the party's pull that the request is in now, with its ping."""
        pull = party.pulls.get(alias)
        if pull is None or begins(request, pull, base):
            pull = party.pulls[alias] = Pull(request.client, alias)
            self._pulls[pull] = party
            self._open[request.client, alias].append(pull)
        elif base and base.begin < pull.begin:
            base = None
        if base:
            self._take_back(base)
            self._put(base, pull)
        self._put(request, pull)
        return pull

    def _put(self, request: Request, pull: Pull) -> None:
        """Let the request belong to the pull."""
        pull.add(request)
        places = self._places.setdefault(request.id, [])
        if pull not in places:
            places.append(pull)
        if len(places) > 1:
            self._shared.update(places)

    def _claim(self, request: Request, party: Party) -> None:
        """Let what came on the connection before belong to the party, too."""
        for each in self._loose.get(request.connection or "", ()):
            for alias in each.aliases:
                if alias in party.pulls and each.kind in _OF_PULLS:
                    self._take_back(each)
                    self._put(each, party.pulls[alias])

    def _lead(self, token: Request, pull: Pull) -> None:
        """Let a pull by a tag have its token, whose name has the tag in it."""
        if pull in (places := self._places.get(token.id, ())):
            return
        begun = [place for place in places if place.alias.startswith(f"{pull.alias}/")]
        if any(place.has_content for place in places):
            return
        for place in begun:
            for each in place.requests:
                self._put(each, pull)

    def _base(self, request: Request, *, is_proven: bool) -> Request | None:
        """Return the ``GET /v2/`` that the request comes after, if it is clear which.

        No client asks for a blob next.
        """
        if request.kind is Kind.BLOB:
            return None
        bases = self._recent_bases(request)
        own = [each for each in bases if each.connection == request.connection]
        if request.connection and own:
            return own[-1]
        if is_traced(request) and (is_proven or len(bases) > 1):
            return None
        return bases[-1] if bases else None

    def _recent_bases(self, request: Request) -> list[Request]:
        """Return each ``GET /v2/`` that the request may come after."""
        found = []
        for base in reversed(self._bases.get(request.client, ())):
            if request.begin - base.end > BASE_SECONDS:
                break
            if may_ping(base.agent, request.agent) and may_follow(request, base):
                found.append(base)
        return found[::-1]

    def _rivals(self, request: Request) -> list[Pull]:
        """Return the pulls that a request may go on with that nothing links to one."""
        names = [*request.aliases]
        if request.kind is Kind.TOKEN:
            # A tag has a name of its own, below that of what is pulled.
            names += (alias.rpartition("/")[0] for alias in request.aliases)
        open_pulls = {
            pull: None for alias in names for pull in self._near(request, alias)
        }
        pulls = [pull for pull in open_pulls if may_ask(request, pull)]
        if not is_traced(request):
            return pulls
        if self._parties.has_own_token(request):
            # Another instance of the proxy may have issued it.
            return [p for p in pulls if not any(each.session for each in p.requests)]
        if request.kind in BEGINNINGS:
            if is_first(request) or self._recent_bases(request):
                return []
            is_token = request.kind is Kind.TOKEN
            begun = waits_for_token if is_token else is_found
            return [p for p in pulls if begun(p, request.begin)] or pulls
        return [p for p in pulls if has(p, Kind.MANIFEST)]

    def _near(self, request: Request, alias: str) -> list[Pull]:
        """Return the pulls of the alias that are not over for long."""
        key = request.client, alias
        pulls = self._open.get(key, [])[-RIVALS_MAX:]
        found = [
            pull
            for pull in pulls
            if self._pulls[pull].proven.pulls.get(alias) is pull
            and not is_silent(pull, request.begin)
        ]
        if len(found) < len(pulls):
            self._open[key] = found
        return found

    def _unite(self, party: Party, other: Party) -> Party:
        """Let two parties be one, with their pulls."""
        if party is other:
            return party
        self._parties.unite(party, other)
        pulls, other.pulls = other.pulls, {}
        for alias, pull in pulls.items():
            mine = party.pulls.get(alias)
            party.pulls[alias] = self._join(mine, pull) if mine else pull
        return party

    def _join(self, one: Pull, other: Pull) -> Pull:
        """Return the last pull of a party that had two of one alias."""
        first, second = sorted((one, other), key=lambda pull: pull.begin)
        named = [each for each in second.requests if each.kind is not Kind.BASE]
        base = second.requests[0] if second.requests[0] not in named else None
        if begins(named[0], first, base):
            return second
        for each in second.requests:
            self._put(each, first)
        self._drop(second)
        self._joined.append(second)
        return first

    def _drop(self, pull: Pull) -> None:
        """Let there be no such pull."""
        party = self._pulls.pop(pull).proven
        if party.pulls.get(pull.alias) is pull:
            del party.pulls[pull.alias]
        self._shared.discard(pull)
        for request in pull.requests:
            self._displace(request, pull)
        key = pull.client, pull.alias
        self._open[key] = [each for each in self._open.get(key, ()) if each is not pull]
        if not self._open[key]:
            del self._open[key]

    def _is_doubtful(self, pull: Pull) -> bool:
        """Return whether another pull may have begun by this one."""
        return any(pull in self._left(doubt) for doubt in self._doubts)

    def _is_idle(self, pull: Pull) -> bool:
        """Return whether it has only tokens that were used for another alias.

        Or that were refused for a tag's own name, and for the name below which it is.
        """
        if pull.has_content:
            return False
        name, is_bad = pull.alias.rpartition("/")[0], pull.is_bad
        return all(
            any(
                place.alias == name and place.is_bad if is_bad else place.has_content
                for place in self._places[each.id]
            )
            for each in pull.requests
        )

    def _left(self, doubt: _Doubt) -> list[Pull]:
        """Return the beginnings that have not gone on since."""
        return [
            pull
            for pull, count in doubt.begun
            if pull in self._pulls and len(pull.requests) == count
        ]

    def _resolve_doubts(self, at: float) -> None:
        """Let a pull have its beginning where the others have gone on otherwise."""
        if not self._doubts:
            return
        recent = {
            doubt
            for doubt in self._doubts[-DOUBTS_MAX:]
            if len(doubt.begun) <= DOUBTS_MAX
            and at - doubt.pull.begin <= SILENCE_SECONDS
        }
        here = [doubt for doubt in self._doubts if doubt.pull in self._pulls]
        self._doubts = [doubt for doubt in here if doubt in recent]
        self._old_doubts += (doubt for doubt in here if doubt not in recent)
        del self._old_doubts[:-OLD_DOUBTS_MAX]
        left = [(doubt, self._left(doubt)) for doubt in self._doubts]
        count = Counter(pull for _, pulls in left for pull in pulls)
        for doubt, pulls in left:
            if len(pulls) == 1 and count[pulls[0]] == 1 and doubt.pull in self._pulls:
                owners = (self._pulls[each].proven for each in (pulls[0], doubt.pull))
                self._unite(*owners)
