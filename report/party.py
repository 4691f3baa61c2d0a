"""Which requests are of one client, by what they have in common.

Two things are a proof: a connection, which is one client's own unless a trusted reverse
proxy is in front, and a token, which only who asked for it has. A token that was issued
twice proves nothing, because it may have been given to two.

A registry that gives its content without tokens leaves nothing to tell programs of one
address apart, which open a connection for each layer. There, who has the same address
and the same name is one client, be it several.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from cachetools import LRUCache

from mitm.story.kind import CONTENT, Kind, Login
from report.pull import Pull
from report.request import Request

COMMON_MAX = 1000
"""Tokens that are remembered because they prove nothing."""

TOKENS_MAX = 1000
"""Tokens of which it is remembered who asked for them."""

_WITHOUT_TOKEN = CONTENT | {Kind.PUSH}
"""What some registries want no token for."""
_WANT_TOKEN = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
LINKS_MAX = 100
"""Connections and tokens of one client that are remembered, those seen last."""

type Link = tuple[str, str]
"""What requests of one client have in common: which sort of thing, and which of it."""

_FOR_TOKENS = (("docker", "containerd"), ("buildkit", "containerd"))
"""Names of programs, and what they call themselves where they ask for a token."""
_FOR_PINGS = (("go-containerregistry", "Go-http-client"),)
"""Likewise, where they ping."""


@dataclass(slots=True, eq=False)
class Party:
    """One client, as far as anything proves that it is one."""

    pulls: dict[str, Pull] = field(default_factory=dict)
    """The last one of each alias."""
    links: dict[Link, None] = field(default_factory=dict)
    """In the order in which they were seen last."""
    heir: "Party | None" = None
    """Who it turned out to be."""

    @property
    def proven(self) -> "Party":
        """The one that it is."""
        party = self
        while party.heir:
            party = party.heir
        return party


class Parties:
    """Who is who."""

    def __init__(self) -> None:
        self._parties: dict[Link, Party] = {}
        self._common: LRUCache[Link, None] = LRUCache(COMMON_MAX)
        """Tokens that were issued to several."""
        self._tokens: LRUCache[str, Request] = LRUCache(TOKENS_MAX)
        """The request for each token, by what stands for that."""
        self._waiting: list[tuple[Request, Party]] = []
        """Requests for a token that has not been issued yet."""

    def of(self, request: Request) -> list[Party]:
        """Return who has something in common with the request; they are one."""
        self._read_issued()
        links = (*_links(request), *_links_without_token(request))
        found = (self._parties.get(link) for link in links)
        return list(dict.fromkeys(party for party in found if party))

    def has_own_token(self, request: Request) -> bool:
        """Return whether it has a token that nobody else is known to have."""
        return any(
            sort == "session" and (sort, name) not in self._common
            for sort, name in _links(request)
        )

    def token_of(self, request: Request) -> Request | None:
        """Return the request for the token that this one has, if that is clear."""
        has_own = request.session and self.has_own_token(request)
        return self._tokens.get(request.session or "") if has_own else None

    def add(self, request: Request, party: Party) -> None:
        """Take note that the request is of this party."""
        for link in _links(request):
            self._link(link, party)
        if is_open(request):
            for link in _links_without_token(request):
                self._link(link, party)
        if request.kind is Kind.TOKEN:
            self._waiting.append((request, party))
            self._read_issued()

    def unite(self, party: Party, other: Party) -> None:
        """Take note that the other one is this one, but for its pulls."""
        other.heir = party
        links, other.links = other.links, {}
        for link in links:
            self._link(link, party)

    def forget_requests(self, gone: Container[str]) -> None:
        """Wait no longer for the tokens of the requests with these ids."""
        self._waiting = [each for each in self._waiting if each[0].id not in gone]

    def forget(self, party: Party) -> None:
        """Forget who has no pull any more."""
        for link in party.links:
            if self._parties.get(link) is party:
                del self._parties[link]
            self._tokens.pop(link[1], None)
        self._waiting = [
            (request, owner)
            for request, owner in self._waiting
            if owner.proven is not party
        ]

    def _link(self, link: Link, party: Party) -> None:
        if link in self._common:
            return
        self._parties[link] = party
        party.links.pop(link, None)
        party.links[link] = None
        while len(party.links) > LINKS_MAX:
            oldest = next(iter(party.links))
            del party.links[oldest]
            if self._parties.get(oldest) is party:
                del self._parties[oldest]

    def _read_issued(self) -> None:
        """Take note of the tokens that were issued since."""
        waiting, self._waiting = self._waiting, []
        for request, party in waiting:
            if request.session:
                self._tokens[request.session] = request
                self._issue(("session", request.session), party.proven)
            elif not request.is_over:
                self._waiting.append((request, party))

    def _issue(self, link: Link, party: Party) -> None:
        if self._parties.get(link, party) is not party:
            self._parties.pop(link).links.pop(link, None)
            self._common[link] = None
        self._link(link, party)


def is_open(request: Request) -> bool:
    """Return whether it shows that the registry wants no token for its content."""
    is_answered = request.is_over and request.status not in (None, *_WANT_TOKEN)
    has_login = request.record.login is Login.KEY
    return any(_links_without_token(request)) and (has_login or is_answered)


def may_ask_for_token(agent: str, program: str) -> bool:
    """Return whether a token asked for under this name may be for that program."""
    return _is_same(agent, program) or (_name(program), _name(agent)) in _FOR_TOKENS


def may_ping(agent: str, program: str) -> bool:
    """Return whether a ping under this name may be that program's."""
    return _is_same(agent, program) or (_name(program), _name(agent)) in _FOR_PINGS


def _is_same(one: str, other: str) -> bool:
    return one == other or not (one and other)


def _name(agent: str) -> str:
    return agent.partition("/")[0]


def _links(request: Request) -> Iterator[Link]:
    """Yield what the request has; the token of one for a token is not there yet."""
    if request.connection:
        yield "connection", request.connection
    if request.session and request.kind is not Kind.TOKEN:
        yield "session", request.session


def _links_without_token(request: Request) -> Iterator[Link]:
    """Yield what a request for content has that needs no token."""
    if request.kind in _WITHOUT_TOKEN and request.record.login is not Login.TOKEN:
        yield "open", f"{request.client} {request.agent}"
