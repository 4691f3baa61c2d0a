"""Decides how requests are told that belong to no pull."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mitm.story.fact import Fact
from mitm.story.record import Kind
from report import phrase
from report.failure import Failure, failures
from report.request import Request

_HEALTH_CHECKS = (Kind.PING, Kind.READY)


@dataclass(frozen=True, slots=True)
class Alike:
    """Requests that asked for the same, and had the same answer."""

    first: Request
    requests: list[Request] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Others:
    """The requests that belong to no pull."""

    requests: Sequence[Request]
    """In the order of time."""

    @property
    def health_checks(self) -> Sequence[Request]:
        """Those of an orchestrator or balancer."""
        return [one for one in self.requests if one.kind in _HEALTH_CHECKS]

    @property
    def health_summary(self) -> str:
        """All health checks in one line."""
        checks = self.health_checks
        paths = [one.say(Fact.PATH) for one in checks]
        asked = ", ".join(f"{paths.count(path)} x {path}" for path in sorted({*paths}))
        bad = sum(one.is_bad for one in checks)
        said = f"{bad} of them said no" if bad else "all of them said yes"
        return f"Health checks: {asked}; {said}."

    @property
    def summary(self) -> str:
        """How many they are, and how many went wrong."""
        bad = sum(one.is_bad for one in self.requests)
        shown = phrase.count(len(self.requests), "request")
        return f"{shown}, {bad} refused or failed" if bad else shown

    @property
    def alike(self) -> Sequence[Alike]:
        """The rest."""
        found: dict[tuple[object, ...], Alike] = {}
        for one in self.requests:
            if one.kind in _HEALTH_CHECKS:
                continue
            key = (one.client, one.method, one.kind, one.say(Fact.PATH), one.status)
            found.setdefault(key, Alike(one)).requests.append(one)
        return list(found.values())

    @property
    def bad(self) -> Sequence[Request]:
        """Those that went wrong, as where a client can not even log in.

        An unknown path is wrong by itself.
        """
        return [one for one in self.requests if one.is_bad and one.kind != Kind.OTHER]

    @property
    def failures(self) -> Sequence[Failure]:
        """What went wrong."""
        return failures(self.bad)
