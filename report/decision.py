"""The decisions of the proxy that the page tells, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from mitm.story.words import CACHES, LOGINS
from report.pull import Pull
from resolver.grammar.timestamp import describe_duration


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that was decided."""

    name: str
    value: str | None
    is_name: bool = False
    """Whether it is to be read letter by letter."""


def decisions(pull: Pull) -> Sequence[Decision]:
    """Return what was decided for a pull, without what is not known."""
    target, token = pull.target, pull.token
    login = token.record.login if token else None
    found = token.about(pull.alias) if token else None
    # Of what failed, the reason is another one.
    reason = found.reason if found and found.release else None
    lifetime = describe_duration(pull.lifetime) if pull.lifetime else ""
    rows = [
        Decision("alias", pull.alias, is_name=True),
        Decision("selector", target.selector or "none", is_name=bool(target.selector)),
        Decision("release", target.release, is_name=True),
        Decision("revision", target.revision),
        Decision("commit", target.commit, is_name=True),
        Decision("because", reason),
        Decision("location", target.location, is_name=True),
        Decision("look-up", CACHES[target.cache].brief if target.cache else None),
        Decision("login", LOGINS[login].brief if login else None),
        Decision("token", lifetime and f"good for {lifetime}"),
    ]
    return [row for row in rows if row.value]
