"""A request as the page may show it: its record, its times, who asked and whom.

Headers and bodies stop here. The one header that is shown is the client's name for
itself, and the one thing that is read in a body is how long a token lives.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Self

from mitmproxy import http

from cause.finding import Cause
from mitm.story.alias import AliasRecord
from mitm.story.explain import explain, redirect_host
from mitm.story.kind import CONTENT, Kind, Outcome, OwnKind
from mitm.story.quantity import read_size
from mitm.story.record import AGENT_LENGTH_MAX, Record, shown_agent
from resolver.grammar.payload import parse_payload
from resolver.grammar.timestamp import read_seconds
from resolver.grammar.url import USUAL_PORTS
from resolver.upstream.observer import CacheState

BAD_OUTCOMES = (
    Outcome.ABORTED,
    Outcome.REFUSED,
    Outcome.LIMITED,
    Outcome.UNAUTHORIZED,
    Outcome.FAILED,
)
"""Of which nobody had all that was asked for; what is worse stands further down."""
_REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)
_HELPED_BY_LOGIN = (Cause.LOGIN, Cause.RIGHTS, None)
"""What may be wrong where another login is the way out."""
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)


class Source(StrEnum):
    """Where what a client got came from."""

    REGISTRY = "registry"
    STORAGE = "storage"
    CACHE = "cache"
    SHARED = "shared"
    """From what the proxy was just getting for another client."""
    REDIRECT = "redirect"
    """From the storage, past this proxy."""
    NGINX = "nginx"
    """From nginx in front, past this proxy."""


_SOURCES: Mapping[CacheState | None, Source] = {
    CacheState.HIT: Source.CACHE,
    CacheState.SHARED: Source.SHARED,
}
"""Of what the cache is filled with is told where that came from."""


@dataclass(slots=True, eq=False)
class Request:
    """A request, of a client or of the proxy itself.

    One that is under way may be brought up to date where it is, by its record above
    all; each is itself, however alike two of them are.
    """

    id: str
    """The flow's."""
    record: Record
    begin: float
    """Seconds since the epoch."""
    seconds: float
    client: str
    """The address of who asked."""
    agent: str
    """What the client calls itself."""
    host: str
    """Whom it was for: the registry, or the API."""
    comment: str
    explanation: tuple[str, ...]
    """Of what went wrong: what happened, and what comes next."""
    lifetime: int | None
    """Seconds that the token lives which was the answer."""
    total: int | None = None
    """Bytes that the answer says it has; None where it does not say."""
    led_to: str = ""
    """The host that the client was sent to for it, past this proxy."""
    own: tuple["Request", ...] = ()
    """The requests that the proxy made to answer this one, in the order of time."""

    @property
    def end(self) -> float:
        """When it was over."""
        return self.begin + self.seconds

    @property
    def connection(self) -> str | None:
        """The client's own connection, if it is known which is."""
        return self.record.connection

    @property
    def session(self) -> str | None:
        """What stands for the token that was issued or sent."""
        return self.record.session

    @property
    def kind(self) -> Kind | OwnKind:
        """What was asked for."""
        return self.record.kind

    @property
    def status(self) -> int | None:
        """The answer's; None as long as there is none."""
        return self.record.status

    @property
    def aliases(self) -> list[str]:
        """The aliases that it is about."""
        return [each.alias for each in self.record.aliases] or self.record.names

    @property
    def is_over(self) -> bool:
        """Whether it ended, well or not."""
        return self.record.is_own or self.record.outcome is not None

    @property
    def source(self) -> Source | None:
        """Where its content came from; None where there is none."""
        record = self.record
        if record.kind not in CONTENT or self.status is None:
            return None
        if record.mover:
            return Source.NGINX
        if record.cache in _SOURCES:
            return _SOURCES[record.cache]
        if self.status in _REDIRECTS:
            return Source.REDIRECT
        if record.storage:
            return Source.STORAGE
        return None if record.registry_seconds is None else Source.REGISTRY

    @property
    def is_transfer(self) -> bool:
        """Whether content comes through this proxy."""
        is_past = self.source in (None, Source.REDIRECT, Source.NGINX)
        return not (is_past or self.record.method == "HEAD" or self._is_error)

    @property
    def is_bad(self) -> bool:
        """Whether who asked had nothing of it, or not all."""
        if self.record.is_optional:
            return False
        if not self.record.is_own:
            is_strange = self.record.fault is not None or bool(self.record.refused)
            return self.record.outcome in BAD_OUTCOMES or is_strange
        # The registry is pinged for its challenge, which is a 401.
        limit = 500 if self.kind is OwnKind.PROBE else 400
        return self.status is None or self.status >= limit

    @property
    def sent(self) -> int:
        """How many bytes the client got of what it asked for, and not of an error."""
        return 0 if self._is_error else self.record.bytes or 0

    @property
    def _is_error(self) -> bool:
        return self.status is not None and self.status >= HTTPStatus.BAD_REQUEST

    def update(self, later: Self) -> None:
        """Take over all that was known later; what the proxy asked stays."""
        own = later.own or self.own
        for each in fields(self):
            setattr(self, each.name, getattr(later, each.name))
        self.own = own

    def about(self, alias: str) -> AliasRecord:
        """Return what is known of one of its aliases."""
        records = (each for each in self.record.aliases if each.alias == alias)
        return next(records, AliasRecord(alias))

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; it failed where a login is not taken, and none would be."""
        outcome = self.record.outcome
        if (
            outcome is Outcome.UNAUTHORIZED
            and self.record.fault not in _HELPED_BY_LOGIN
        ):
            return Outcome.FAILED
        return outcome

    def outcome_for(self, alias: str) -> Outcome | None:
        """Return how it ended for one of its aliases; None where it has not."""
        if self.record.is_optional:
            return Outcome.SERVED  # That it is not there is an answer.
        return Outcome.REFUSED if self.about(alias).is_refused else self.outcome

    def with_texts(self, change: Callable[[str], str]) -> Self:
        """Return the request with every text in it changed."""
        record = Record.from_dict(_with_texts(self.record.as_dict(), change))
        record.method, record.status = change(self.record.method), self.status
        return replace(
            self,
            record=record,
            client=change(self.client),
            agent=change(self.agent)[:AGENT_LENGTH_MAX],
            host=change(self.host),
            comment=change(self.comment),
            explanation=tuple(map(change, self.explanation)),
            led_to=change(self.led_to),
        )


def read_request(flow: http.HTTPFlow, record: Record) -> Request:
    """Return what may be said of a flow with this record."""
    request = flow.request
    begin = read_seconds(request.timestamp_start) or 0.0
    read = Request(
        id=flow.id,
        record=record,
        begin=begin,
        seconds=_duration(flow, begin) if record.seconds is None else record.seconds,
        client=record.forwarded_for or "".join(map(str, flow.client_conn.peername[:1])),
        agent=record.agent or shown_agent(request.headers.get("user-agent", "")),
        host=_host(request),
        comment=flow.comment,
        explanation=(),
        lifetime=_lifetime(flow) if record.kind is Kind.TOKEN else None,
        total=_total(flow),
        led_to=redirect_host(flow) if record.is_redirected else "",
    )
    return replace(read, explanation=tuple(explain(flow))) if read.is_bad else read


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value of a record with every text in it changed."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {name: _with_texts(each, change) for name, each in value.items()}
        case list():
            return [_with_texts(each, change) for each in value]
    return value


def _duration(flow: http.HTTPFlow, begin: float) -> float:
    """Return how long it took, going by mitmproxy's own clock."""
    times = (
        flow.response and flow.response.timestamp_end,
        flow.error and flow.error.timestamp,
    )
    ends = [end - begin for time in times if (end := read_seconds(time))]
    return max([0.0, *ends])


def _total(flow: http.HTTPFlow) -> int | None:
    """Return how long the answer is, as it says itself."""
    if flow.response is None or flow.request.method == "HEAD":
        return None
    text = flow.response.headers.get("content-length", "")
    return read_size(int(text)) if _LENGTH.fullmatch(text) else None


def _host(request: http.Request) -> str:
    is_usual = USUAL_PORTS.get(request.scheme) == request.port
    return request.host if is_usual else f"{request.host}:{request.port}"


def _lifetime(flow: http.HTTPFlow) -> int | None:
    """Return for how many seconds the token in the answer lives."""
    if flow.response is None:
        return None
    try:
        answer = parse_payload(flow.response.raw_content or b"")
    except ValueError:
        return None
    expires_in = answer.get("expires_in") if isinstance(answer, dict) else None
    seconds = read_seconds(expires_in)
    return None if seconds is None else int(seconds)
