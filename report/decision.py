"""Decides which decisions of the proxy the page tells, and in which words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mitm.story.fact import Fact
from mitm.story.record import Login
from report import phrase
from report.pull import Pull
from resolver.upstream.observer import CacheState

_CACHES: Mapping[str, str] = {
    CacheState.HIT: "remembered, the API was not asked for it",
    CacheState.MISS: "the API was asked",
    CacheState.SHARED: "the API was being asked by another request",
    CacheState.STALE: "the API failed, and what was remembered served beyond its time",
}
_LOGINS: Mapping[str, str] = {
    Login.NONE: "none, so only what is public is there",
    Login.KEY: "an API key",
    Login.TOKEN: "a token",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was decided."""

    name: str
    value: str
    is_name: bool = False
    """Whether it is to be read letter by letter."""


def decisions(pull: Pull) -> Sequence[Decision]:
    """Return what was decided for a pull, without what is not known."""
    token = pull.token
    cache, login = pull.fact(Fact.CACHE), token.say(Fact.LOGIN) if token else ""
    selector = pull.fact(Fact.SELECTOR)
    told = [
        Decision("alias", pull.alias, is_name=True),
        Decision("selector", selector or "none", is_name=bool(selector)),
        Decision("release", pull.fact(Fact.RELEASE), is_name=True),
        Decision("revision", pull.fact(Fact.REVISION)),
        Decision("commit", pull.fact(Fact.COMMIT), is_name=True),
        Decision("because", _reason(pull)),
        Decision("location", pull.location, is_name=True),
        Decision("look-up", _CACHES.get(cache, "")),
        Decision("login", _LOGINS.get(login, "")),
        Decision("token", _lifetime(pull)),
    ]
    return [one for one in told if one.value]


def _reason(pull: Pull) -> str:
    """Return why it is this release; of what failed, the reason is another one."""
    token = pull.token
    is_found = token and token.say_of(pull.alias, Fact.RELEASE)
    return token.say_of(pull.alias, Fact.REASON) if token and is_found else ""


def _lifetime(pull: Pull) -> str:
    return f"good for {phrase.lifetime(pull.lifetime)}" if pull.lifetime else ""
