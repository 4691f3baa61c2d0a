"""A pull as `registry-proxy watch` shows it, read from what `/pulls.json` has of it.

Whoever answers there may be anybody, so each text is made printable and cut, and a
value of another type counts as not known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from mitm.story.kind import Kind, Outcome
from mitm.story.quantity import read_size
from report import phrase
from report.request import BAD_OUTCOMES
from resolver.grammar.reference import printable
from resolver.grammar.timestamp import read_seconds

TEXT_LENGTH_MAX = 300
LAYERS_MAX = 10_000
_OWN_SIGNS = frozenset("→…✓✕")
"""What this proxy's own words have beside ASCII."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a pull."""

    id: str
    name: str
    release: str
    client: str
    """Address, and what it calls itself."""
    result: Outcome | None
    is_over: bool
    reason: str
    advice: str
    begin: float
    end: float
    bytes: int
    total: int | None
    rate: float | None
    layers: int
    """How many blobs it has asked for."""
    whole: int
    """How many of these it has."""

    @classmethod
    def read(cls, state: object) -> Self | None:
        """Return what a JSON object says, or None for what is no pull."""
        if not isinstance(state, dict) or not clean(state.get("name")):
            return None
        blobs = _blobs(state.get("requests"))
        begin = read_seconds(state.get("begin")) or 0.0
        return cls(
            id=clean(state.get("id")),
            name=clean(state.get("name")),
            release=clean(state.get("release")),
            client=_client(state.get("client")),
            result=_outcome(state.get("result")),
            is_over=state.get("is_over") is True,
            reason=clean_words(state.get("finding"))
            or clean_words(state.get("reason")),
            advice=clean_words(state.get("advice")),
            begin=begin,
            end=read_seconds(state.get("end")) or begin,
            bytes=read_size(state.get("bytes")) or 0,
            total=read_size(state.get("total")),
            rate=read_seconds(state.get("rate")),
            layers=len(blobs),
            whole=sum(blobs.values()),
        )

    @classmethod
    def read_other(cls, state: object) -> Self | None:
        """Return what a JSON object says of a request that belongs to no pull."""
        if not isinstance(state, dict) or not clean_words(state.get("finding")):
            return None
        asked = clean(state.get("method")), clean(state.get("path"))
        name = " ".join(asked) if all(asked) else clean(state.get("what"))
        outcome = _outcome(state.get("outcome"))
        begin = read_seconds(state.get("begin")) or 0.0
        whole = {
            "name": name,
            # Whoever did not come back is gone, though nothing was refused.
            "result": outcome if outcome in BAD_OUTCOMES else Outcome.ABORTED,
            "is_over": True,
            "end": begin + (read_seconds(state.get("seconds")) or 0.0),
        }
        return cls.read(state | whole)

    @property
    def key(self) -> tuple[str, float]:
        """What tells it from others, also after the proxy began anew."""
        return self.id, self.begin

    @property
    def is_bad(self) -> bool:
        """Whether whoever pulls has no image."""
        return self.result in BAD_OUTCOMES


def clean(value: object, most: int = TEXT_LENGTH_MAX) -> str:
    """Return a text in printable ASCII, cut; nothing for what is no text."""
    return printable(value[:most])[:most] if isinstance(value, str) else ""


def clean_words(value: object) -> str:
    """Return words of the proxy's, which has a few signs of its own, likewise."""
    if not isinstance(value, str):
        return ""
    words = value[:TEXT_LENGTH_MAX]
    signs = (each if each in _OWN_SIGNS else printable(each) for each in words)
    return "".join(signs)[:TEXT_LENGTH_MAX]


def _outcome(value: object) -> Outcome | None:
    return next((each for each in phrase.RESULTS if each and each == value), None)


def _client(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    return " ".join(filter(None, (clean(value.get(n)) for n in ("address", "agent"))))


def _blobs(requests: object) -> Mapping[str, bool]:
    """Return which blobs were asked for, and whether the client has each."""
    blobs: dict[str, bool] = {}
    for each in requests[:LAYERS_MAX] if isinstance(requests, list) else ():
        if isinstance(each, dict) and each.get("kind") == Kind.BLOB:
            digest = clean(each.get("digest"))
            is_whole = each.get("outcome") == Outcome.SERVED
            blobs[digest] = blobs.get(digest, False) or is_whole
    return blobs


def read_pulls(answer: Any) -> list[Shown]:
    """Return the pulls of an answer, and what went wrong beside them, the oldest first.

    Raises:
        TypeError: it is no answer of a page of pulls.

    """
    pulls = answer.get("pulls") if isinstance(answer, dict) else None
    if not isinstance(pulls, list):
        raise TypeError("there is no list of pulls in it")
    others = answer.get("others")
    found = [
        *map(Shown.read, reversed(pulls)),
        *map(Shown.read_other, others if isinstance(others, list) else ()),
    ]
    return sorted(filter(None, found), key=lambda each: each.begin)
