"""The requests that belong to no pull, as the page tells of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mitm.story.kind import Kind
from report import phrase
from report.failure import Failure, failures
from report.request import Request

_HEALTH_CHECKS = (Kind.PING, Kind.READY)


@dataclass(frozen=True, slots=True)
class Others:
    """The requests that belong to no pull."""

    requests: Sequence[Request]
    """In the order of time."""

    @property
    def health_checks(self) -> Sequence[Request]:
        """Those of an orchestrator or balancer."""
        return [each for each in self.requests if each.kind in _HEALTH_CHECKS]

    @property
    def health_summary(self) -> str:
        """All health checks in one line."""
        checks = self.health_checks
        paths = [each.record.path or "" for each in checks]
        asked = ", ".join(f"{paths.count(path)} x {path}" for path in sorted({*paths}))
        bad = sum(each.is_bad for each in checks)
        said = f"{bad} of them said no" if bad else "all of them said yes"
        return f"Health checks: {asked}; {said}."

    @property
    def summary(self) -> str:
        """How many they are, and how many went wrong."""
        bad = sum(each.is_bad for each in self.requests)
        shown = phrase.count(len(self.requests), "request")
        return f"{shown}, {bad} refused or failed" if bad else shown

    @property
    def alike(self) -> Sequence[Sequence[Request]]:
        """The rest: together those that asked for the same and had the same answer."""
        groups: defaultdict[tuple[object, ...], list[Request]] = defaultdict(list)
        for each in self.requests:
            if each.kind not in _HEALTH_CHECKS:
                record = each.record
                key = (
                    *(each.client, each.agent, record.method, each.kind),
                    *(record.path, each.status),
                )
                groups[key].append(each)
        return list(groups.values())

    @property
    def bad(self) -> Sequence[Request]:
        """Those that went wrong, as where a client can not even log in.

        An unknown path is wrong by itself, unless it is known who asks for it and why.
        """
        return [
            each
            for each in self.requests
            if each.is_bad and (each.record.finding or each.kind is not Kind.OTHER)
        ]

    @property
    def failures(self) -> Sequence[Failure]:
        """What went wrong."""
        return failures(self.bad)
