"""Decides what the page may say of a flow: its facts, its times, who and whom.

Headers and bodies stop here. The one header that is shown is the client's name for
itself, and the one thing that is read in a body is how long a token lives.
A file can be written by anybody: a number that is none, or is absurd, counts as not
known.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from mitmproxy import http

from mitm.story.explain import explain
from mitm.story.fact import SEPARATOR, Fact, OwnKind, Value, read, text
from mitm.story.record import Kind, Outcome

SECONDS_MAX = float(1 << 35)
"""The year 3058: later than any time that is meant."""
AGENT_LENGTH_MAX = 60
"""Characters of a client's name for itself; docker tells its whole build."""
BAD_OUTCOMES = frozenset(set(Outcome) - {Outcome.SERVED, Outcome.CHALLENGED})
_OWN_KINDS = frozenset(map(str, OwnKind))
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Request:
    """A request, of a client or of the proxy itself."""

    facts: Mapping[Fact, Value]
    aliases: tuple[str, ...]
    begin: float
    """Seconds since the epoch."""
    seconds: float
    client: str
    """The address of who asked."""
    agent: str
    """What the client calls itself."""
    host: str
    """Whom it was for: the registry, or the API."""
    method: str
    status: int | None
    """None as long as there is no answer."""
    comment: str
    explanation: tuple[str, ...]
    lifetime: int | None
    """Seconds that the token lives which was the answer."""
    made: tuple["Request", ...] = ()
    """The requests that the proxy made to answer this one, in the order of time."""

    @property
    def end(self) -> float:
        """When it was over."""
        return self.begin + self.seconds

    @property
    def is_own(self) -> bool:
        """Whether the proxy itself asked."""
        return self.kind in _OWN_KINDS

    @property
    def kind(self) -> str:
        """One of `Kind` or `OwnKind`; anything else is as good as `Kind.OTHER`."""
        known = text(self.facts, Fact.KIND)
        return known if known in _OWN_KINDS | set(Kind) else str(Kind.OTHER)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None where that was not noted."""
        known = text(self.facts, Fact.OUTCOME)
        return Outcome(known) if known in set(Outcome) else None

    @property
    def is_bad(self) -> bool:
        """Whether who asked had nothing of it, or not all."""
        if not self.is_own:
            return self.outcome in BAD_OUTCOMES or bool(self.refused)
        # The registry is pinged for its challenge, which is a 401.
        limit = 500 if self.kind == OwnKind.PROBE else 400
        return self.status is None or self.status >= limit

    def say(self, fact: Fact) -> str:
        """Return a fact in words, or nothing where it is not known."""
        return text(self.facts, fact)

    def say_of(self, alias: str, fact: Fact) -> str:
        """Return the part of a fact that is about one of the aliases.

        Those that were found have releases and so on, those that were refused do not.
        """
        whole = self.say(fact)
        if len(self.aliases) < 2:  # noqa: PLR2004 - nothing to choose from
            return whole
        parts = whole.split(SEPARATOR)
        found = [one for one in self.aliases if one not in self.refused]
        for names in (found, list(self.aliases)):
            if len(parts) == len(names) and alias in names:
                return parts[names.index(alias)]
        return ""

    def number(self, fact: Fact) -> float | None:
        """Return a fact that is a number and not less than nothing."""
        return _number(self.facts.get(fact))

    @property
    def sent(self) -> int:
        """How many bytes the client got of what it asked for, and not of an error."""
        is_error = self.status is not None and self.status >= 400  # noqa: PLR2004
        return 0 if is_error else int(self.number(Fact.BYTES) or 0)

    @property
    def refused(self) -> tuple[str, ...]:
        """The aliases that were refused."""
        return _split(self.say(Fact.REFUSED))

    def with_texts(self, change: Callable[[str], str]) -> Self:
        """Return the request with every text in it changed."""
        return replace(
            self,
            facts={
                fact: change(value) if isinstance(value, str) else value
                for fact, value in self.facts.items()
            },
            aliases=tuple(map(change, self.aliases)),
            client=change(self.client),
            agent=change(self.agent)[:AGENT_LENGTH_MAX],
            host=change(self.host),
            method=change(self.method),
            comment=change(self.comment),
            explanation=tuple(map(change, self.explanation)),
        )


def read_request(flow: http.HTTPFlow) -> Request:
    """Return what may be said of a flow."""
    facts, asked = read(flow), flow.request
    begin = _number(asked.timestamp_start) or 0.0
    seconds = _number(facts.get(Fact.SECONDS))
    return Request(
        facts=facts,
        aliases=_split(text(facts, Fact.ALIAS)),
        begin=begin,
        seconds=_duration(flow, begin) if seconds is None else seconds,
        client="".join(map(str, flow.client_conn.peername[:1])),
        agent=asked.headers.get("user-agent", "").partition(" ")[0],
        host=_host(asked),
        method=asked.method,
        status=flow.response.status_code if flow.response else None,
        comment=flow.comment,
        explanation=tuple(explain(flow)),
        lifetime=_lifetime(flow),
    )


def _split(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(SEPARATOR)) if joined else ()


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= SECONDS_MAX and math.isfinite(value) else None


def _duration(flow: http.HTTPFlow, begin: float) -> float:
    """Return how long it took, going by mitmproxy's own clock."""
    times = (
        flow.response and flow.response.timestamp_end,
        flow.error and flow.error.timestamp,
    )
    return max([0.0, *(end - begin for time in times if (end := _number(time)))])


def _host(asked: http.Request) -> str:
    is_usual = _PORTS.get(asked.scheme) == asked.port
    return asked.host if is_usual else f"{asked.host}:{asked.port}"


def _lifetime(flow: http.HTTPFlow) -> int | None:
    """Return for how many seconds the token in the answer lives."""
    if flow.metadata.get(Fact.KIND) != Kind.TOKEN or flow.response is None:
        return None
    try:
        answer = json.loads(flow.response.get_content(strict=False) or b"")
    except (ValueError, RecursionError):
        return None
    seconds = _number(answer.get("expires_in") if isinstance(answer, dict) else None)
    return None if seconds is None else int(seconds)
