"""What pulls run and ran: a bounded number of them, each with its requests.

The board is told of each request when it begins, when more is known of it, and when it
is over. How far one is that runs is looked up when somebody looks at its pull.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from mitmproxy import ctx, http

from mitm.story.kind import Kind, Login, Outcome
from mitm.story.record import SEPARATOR, Record
from report.grouping import Groups, Sorting
from report.other import Others
from report.pull import Pull
from report.recording import Recording
from report.request import Request, read_request
from report.secret import Secrets
from resolver.upstream.share import household

PULLS_MAX = 500
REQUESTS_MAX = 10_000
"""Of all pulls together."""
REQUESTS_OF_PULL_MAX = 2000
SLACK = 50
"""Requests beyond that which are left out together, because that takes a while."""
OWN_MAX = 50
"""Requests of the proxy's own that are kept for one of a client."""
OTHERS_MAX = 100
"""Requests that belong to no pull."""
TEXT_LENGTH_MAX = 500
"""Characters of whatever is told of a request, which is as long as a finding."""
ALIASES_MAX = 8
"""Names of one token request that are looked at."""
CROWD = 10
"""Who has no more than one part of so many is one of many, and has not too much."""
QUIET_SECONDS = 2.0
"""Without a request, after which a pull counts as over."""
LOOK_SECONDS = 0.4
"""For how long it is good what was looked up of a request that runs."""
HIDE_SECONDS = 0.2
"""For how long it is good which pulls are shown."""
LOOKS_MAX = 25
"""Pulls that are looked at for one update."""
CARDS_MAX = 25
"""Pulls in one update; the rest comes with the next one."""
REPORT_MAX = 3000
"""Requests on a report: a page of more is no use, and takes long to make."""
RATE_SAMPLES = 8
NAME = "the running proxy"
"""From where the page says that its pulls are."""
_HEALTH_CHECKS = (Kind.PING, Kind.READY)


@dataclass(slots=True)
class Running:
    """A request that is not over."""

    record: Record
    request: Request
    """As it was read last, with what the proxy asked to answer it."""


@dataclass(slots=True)
class Card:
    """A pull, and when it changed."""

    pull: Pull
    changed: int = 0
    """The version of the board since which it is as it is."""
    looked: float = 0.0
    """When it was looked at how far its requests are."""
    running: set[str] = field(default_factory=set)
    """The ids of its requests that are not over."""
    is_over: bool = False
    """Whether none is, and no more is expected."""
    own: int = 0
    """How many requests of the proxy's own it has."""
    size: int = 0
    """How many it has with these, as they were counted last."""
    samples: deque[tuple[float, int]] = field(
        default_factory=lambda: deque(maxlen=RATE_SAMPLES)
    )
    """How many bytes the client had when."""
    json: bytes | None = None
    """What is told of it as JSON, as long as that is right."""
    _is_bad: bool | None = None
    _bytes: int | None = None

    @property
    def id(self) -> str:
        """By which name the page has it."""
        return str(self.pull.number)

    @property
    def is_bad(self) -> bool:
        """Whether whoever pulls has no image so far, for a reason."""
        if self._is_bad is None:
            self._is_bad = self.pull.is_bad
        return self._is_bad

    @property
    def bytes(self) -> int:
        """How many the client got."""
        if self._bytes is None:
            self._bytes = self.pull.bytes
        return self._bytes

    @property
    def result(self) -> Outcome | None:
        """What came of it; None as long as that is open."""
        return self.pull.result if self.is_over or self.is_bad else None

    @property
    def login(self) -> Login | None:
        """How the client logged in, where that is known."""
        token = self.pull.token
        return token.record.login if token else None

    def count(self) -> tuple[bool, int]:
        """Return what is counted of it, which is remembered until it changes."""
        return self.is_bad, self.bytes

    def change(self, version: int) -> None:
        """Take note that it is another one since that version."""
        self.changed = version
        self.json = self._is_bad = self._bytes = None

    @property
    def rate(self) -> float | None:
        """Bytes in a second, of late; None where that is not known."""
        if self.is_over or len(self.samples) < 2:  # noqa: PLR2004 - two ends
            return None
        (first, before), (last, after) = self.samples[0], self.samples[-1]
        return max(0.0, (after - before) / (last - first)) if last > first else None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many pulls there are."""

    pulls: int
    running: int
    bad: int
    left_out: int
    """Pulls that were shown, and are not kept any more."""
    bytes: int


class Board:
    """The pulls of which somebody may want to know; an `Audience` of requests."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._sorting = Sorting()
        self._cards: dict[int, Card] = {}
        """By the pulls' numbers, and so in the order in which they began."""
        self._running: dict[str, Running] = {}
        """By the ids of flows."""
        self._names: dict[str, str] = {}
        """The ids of flows that are not over, by the ids of their requests."""
        self._live: dict[int, Card] = {}
        """Those that are not over."""
        self._size = 0
        self._number = 0
        self._hidden: set[int] = set()
        """The numbers of pulls that are not shown."""
        self._hid_at = 0.0
        """When these were found out."""
        self._is_hidden_right = True
        """Whether nothing came since then."""
        self.left_out = 0
        """How many pulls were shown, and are not kept any more."""
        self.version = 0
        """Grows with each change."""
        self.gone = 0
        """The version of the last change of which pulls there are."""
        self.others_changed = 0
        """The version of the last change of what belongs to no pull."""

    def note(self, flow: http.HTTPFlow, record: Record) -> None:
        """Take note of a request, which begins, goes on or is over."""
        if record.is_own:
            self._adopt(flow, record)
        elif record.kind not in _HEALTH_CHECKS and _is_named(record):
            self._note(flow, record)

    def cards(self) -> list[Card]:
        """Return every pull, the newest first."""
        self._hide()
        return [each for each in reversed(self._cards.values()) if self._is_shown(each)]

    def card(self, number: str) -> Card | None:
        """Return the pull of that number, if there is one."""
        return self._cards.get(int(number))

    def find(self, request_id: str) -> Card | None:
        """Return the latest pull that the flow with this id belongs to, if any."""
        for card in self.cards():
            if any(request_id == row.id for row in card.pull.rows):
                return card
        return None

    def changes(self, after: int) -> tuple[Sequence[Card], int]:
        """Return what changed since that version, and which version this leads to."""
        self.look()
        changed = sorted(
            (card for card in self.cards() if card.changed > after),
            key=lambda card: card.changed,
        )
        if len(changed) <= CARDS_MAX:
            return changed, self.version
        return changed[:CARDS_MAX], changed[CARDS_MAX - 1].changed

    def look(self, most: int = LOOKS_MAX) -> None:
        """Look how far the pulls are that run; the longest unseen ones first."""
        now = self._clock()
        due = [each for each in self._live.values() if now - each.looked > LOOK_SECONDS]
        for card in sorted(due, key=lambda each: each.looked)[:most]:
            self._look(card, now)

    @property
    def counts(self) -> Counts:
        """How many pulls there are."""
        cards = self.cards()
        live = filter(self._is_shown, self._live.values())
        return Counts(
            pulls=len(cards),
            running=sum(not card.is_bad for card in live),
            bad=sum(card.is_bad for card in cards),
            left_out=self.left_out,
            bytes=sum(card.bytes for card in cards),
        )

    @property
    def others(self) -> Others:
        """The requests that belong to no pull."""
        return Others(sorted(self._sorting.others, key=lambda each: each.begin))

    def recording(
        self, cards: Iterable[Card], *, with_others: bool
    ) -> tuple[Recording, Groups]:
        """Return the pulls as if they had been saved and read again.

        Of very many, which come the newest first, the older ones are left out.
        """
        pulls: list[Pull] = []
        size = left_out = 0
        for card in cards:
            size += card.size
            if size > REPORT_MAX and pulls:
                left_out += 1
            else:
                # A copy, because it may go on while it is shown.
                copied = replace(card.pull, requests=[*card.pull.requests])
                pulls.append(copied)
        pulls.reverse()
        others = self.others.requests if with_others else ()
        requests = [row for pull in pulls for row in pull.rows]
        requests = sorted([*requests, *others], key=lambda each: each.begin)
        recording = Recording(NAME, tuple(requests), 0, is_cut=False, left_out=left_out)
        return recording, Groups(pulls, others)

    def _note(self, flow: http.HTTPFlow, record: Record) -> None:
        request = self._read(flow, record)
        known = self._running.get(flow.id)
        if known:
            request = replace(request, own=known.request.own)
        if record.outcome is None:
            self._running[flow.id] = Running(record, request)
            self._names[record.request_id] = flow.id
        elif known:
            del self._running[flow.id]
            self._names.pop(record.request_id, None)
        self._take(request)

    def _adopt(self, flow: http.HTTPFlow, record: Record) -> None:
        """Put a request of the proxy's own into the one that it was made for.

        That one is not read again, because it may have dozens of these.
        """
        client = self._running.get(self._names.get(record.request_id, ""))
        if client and len(client.request.own) < OWN_MAX:
            client.request.own += (self._read(flow, record),)
            self._take(self._timed(client.request))

    def _read(self, flow: http.HTTPFlow, record: Record) -> Request:
        """Return what may be shown of a request: no secret, and no text without end."""
        secrets = Secrets()
        if ctx.options.balena_show_secrets:
            secrets.collect(flow)

        def cut(text: str) -> str:
            return secrets.cut(text[: 2 * TEXT_LENGTH_MAX])[:TEXT_LENGTH_MAX]

        names = record.names[:ALIASES_MAX]
        aliases = sorted(record.aliases, key=lambda each: each.alias not in names)
        few = replace(record, aliases=aliases[:ALIASES_MAX])
        request = read_request(flow, few).with_texts(cut)
        request.record.alias = SEPARATOR.join(map(cut, names)) or None
        if flow.response:
            request.record.status = flow.response.status_code
        return request if record.is_own or record.outcome else self._timed(request)

    def _timed(self, request: Request) -> Request:
        """Return a request that runs with the time that it took by now."""
        seconds = max(0.0, round(self._clock() - request.begin, 4))
        return replace(request, seconds=seconds)

    def _take(self, request: Request) -> None:
        """Sort the request into its pulls; what runs of others goes on meanwhile."""
        pulls = self._sorting.take(request)
        for joined in self._sorting.joined():
            if joined.number:
                self._remove(self._cards[joined.number])
        for pull in pulls:
            if not pull.number:
                self._number += 1
                pull.number = self._number
                self._cards[pull.number] = Card(pull)
                self.gone = self.version + 1
            self._keep(self._cards[pull.number], request)
        self._is_hidden_right = False
        if not pulls:
            self.version += 1
            self.others_changed = self.version
            self._sorting.forget_others(OTHERS_MAX)
        self._make_room()

    def _is_shown(self, card: Card) -> bool:
        return card.pull.number not in self._hidden

    def _hide(self) -> None:
        """Show no pull that is the beginning of another one, it is not known which.

        That takes a while, so no request waits for it, but who looks.
        """
        age = self._clock() - self._hid_at
        if self._is_hidden_right or 0 <= age < HIDE_SECONDS:
            return
        self._is_hidden_right, self._hid_at = True, self._clock()
        numbers = {pull.number for pull in self._sorting.hidden}
        if changed := numbers ^ self._hidden:
            self._hidden = numbers
            for number in changed & set(self._cards):
                self._touch(self._cards[number])
            self._count_change()
            self.others_changed = self.version

    def _count_change(self) -> None:
        """Take note that there are other pulls than before."""
        self.version += 1
        self.gone = self.version

    def _keep(self, card: Card, request: Request) -> None:
        """Take note that a pull changed, and count what it has."""
        if request.is_over:
            card.running.discard(request.id)
            card.own += len(request.own)
        else:
            card.running.add(request.id)
        if len(card.pull.requests) > REQUESTS_OF_PULL_MAX + SLACK:
            self._sorting.shorten(card.pull, REQUESTS_OF_PULL_MAX)
            left = (each for each in card.pull.requests if each.is_over)
            card.own = sum(len(each.own) for each in left)
        size = len(card.pull.requests) + card.own
        self._size += size - card.size
        card.size, card.is_over = size, False
        self._live[card.pull.number] = card
        self._touch(card)

    def _touch(self, card: Card) -> None:
        self.version += 1
        card.change(self.version)

    def _look(self, card: Card, now: float) -> None:
        """See how far the requests of a pull are."""
        card.looked = now
        pull = card.pull
        requests = [each for each in pull.requests if each.id in card.running]
        for request in requests if card.running else ():
            if running := self._running.get(request.id):
                if reader := running.record.reader:
                    taken = reader.taken
                    most = request.total
                    request.record.bytes = taken if most is None else min(taken, most)
                pull.add(self._timed(request))
        self._touch(card)
        card.samples.append((now, card.bytes))
        if not card.running and now - pull.end > QUIET_SECONDS:
            card.is_over = True
            del self._live[pull.number]

    def _make_room(self) -> None:
        """Keep the bounds, at the expense of who has the most."""
        while len(self._cards) > PULLS_MAX:
            self._forget(self._least_wanted(lambda _: 1))
        while self._size > REQUESTS_MAX and len(self._cards) > 1:
            self._forget(self._least_wanted(lambda card: card.size))

    def _least_wanted(self, weigh: Callable[[Card], int]) -> Card:
        """Return a pull of who has the most, or of anybody where that is little.

        It is one that is over: of the older half one that got nothing, or the oldest.
        """
        shares: Counter[str] = Counter()
        for card in self._cards.values():
            shares[household(card.pull.client)] += weigh(card)
        most = max(shares.values())
        least = most if most * CROWD > shares.total() else 0
        cards = [
            each
            for each in self._cards.values()
            if shares[household(each.pull.client)] >= least
        ]
        middle = cards[len(cards) // 2].pull.number

        def is_wanted(card: Card) -> tuple[bool, bool]:
            return bool(card.running), card.pull.number > middle or card.bytes > 0

        return min(cards, key=is_wanted)

    def _forget(self, card: Card) -> None:
        for pull in self._sorting.forget(card.pull):
            gone = self._cards[pull.number]
            self.left_out += self._is_shown(gone)
            self._remove(gone)

    def _remove(self, card: Card) -> None:
        """Let there be no such card."""
        number = card.pull.number
        del self._cards[number]
        self._live.pop(number, None)
        self._size -= card.size
        self._count_change()


def _is_named(record: Record) -> bool:
    """Return whether it is known by now which pulls a request is part of."""
    is_open = record.kind is Kind.TOKEN and record.outcome is None
    return not is_open or record.alias is not None
