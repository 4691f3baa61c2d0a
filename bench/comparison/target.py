"""What is to be reached, and whether it was."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.comparison import blob, pull, start, token
from bench.comparison.contestant import BARE, DIRECT, NODE, PROXY
from bench.comparison.sheet import Area, Quantity, Sheet, Subject
from bench.figure import Figure, rounded

REDIRECTED_MOST = 1.03
STREAMED_MOST = 1.25
MANIFEST_MOST = 1.1
PROCESSOR_MOST = 1.05
"""Nothing that can be measured: the time for the same work differs by as much."""
SPEED_LEAST = 0.9
GROWTH_MOST = 20.0
"""Megabytes."""
START_MOST = 1.2
PER_PULL = {
    (token.COLD_PULL, Quantity.LOOK_UPS): 1,
    (token.COLD_PULL, Quantity.TOKENS): 1,
    (token.WARM_PULL, Quantity.LOOK_UPS): 0,
    (token.WARM_PULL, Quantity.TOKENS): 1,
}


@dataclass(frozen=True, slots=True)
class Target:
    """A figure of the proxy's, or its ratio to that of another, and its limit."""

    area: Area
    case: str
    quantity: Quantity
    limit: float
    base: str | None = None
    """Whom it is a ratio to."""
    is_least: bool = False
    """Whether it may not be less; else it may not be more."""

    def __str__(self) -> str:
        """Return what it is about."""
        ratio = f" of {self.base}'s" if self.base else ""
        return f"{self.area}, {self.case}: {self.quantity}{ratio}"

    @property
    def shown_limit(self) -> str:
        """The limit in words."""
        return f"{'at least' if self.is_least else 'at most'} {self.limit:g}"

    def judge(self, sheet: Sheet) -> "Verdict":
        """Return what came of it."""
        subject = Subject(self.area, self.case, PROXY)
        if self.base is None:
            return Verdict(self, sheet.figure(subject, self.quantity))
        base = replace(subject, contestant=self.base)
        return Verdict(self, sheet.ratio(subject, base, self.quantity))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a target."""

    target: Target
    figure: Figure | None
    """None where it was not measured."""

    @property
    def is_reached(self) -> bool | None:
        """Whether the median keeps the limit; None if that is not known."""
        if self.figure is None:
            return None
        middle = rounded(self.figure.middle)  # As it is shown beside the limit.
        if self.target.is_least:
            return middle >= self.target.limit
        return middle <= self.target.limit

    @property
    def word(self) -> str:
        """The same as a word."""
        words = {None: "not measured", True: "yes", False: "no"}
        return words[self.is_reached]

    def as_json(self) -> dict[str, object]:
        """Return all of it."""
        return {
            "target": str(self.target),
            "limit": self.target.shown_limit,
            "reached": self.is_reached,
            "value": self.figure and self.figure.as_json(),
        }


def judge(sheet: Sheet) -> list[Verdict]:
    """Return what came of each target in the areas that were measured."""
    return [
        target.judge(sheet) for target in _targets(sheet) if sheet.subjects(target.area)
    ]


def _targets(sheet: Sheet) -> Iterator[Target]:
    seconds, median = Quantity.SECONDS, Quantity.MEDIAN
    yield Target(Area.PULL, pull.REDIRECTING, seconds, REDIRECTED_MOST, DIRECT)
    yield Target(Area.PULL, pull.STREAMING, seconds, STREAMED_MOST, DIRECT)
    for case in sheet.cases(Area.BLOB):
        yield Target(Area.BLOB, case, Quantity.SPEED, SPEED_LEAST, NODE, is_least=True)
    for case in sheet.cases(Area.BLOB):
        if case.startswith(blob.Transport.PLAIN):
            processor = Quantity.PROCESSOR_PER_GIGABYTE
            yield Target(Area.BLOB, case, processor, PROCESSOR_MOST, BARE)
    for case in sheet.cases(Area.BLOB):
        yield Target(Area.BLOB, case, Quantity.MEMORY_GROWTH, GROWTH_MOST)
    for case in sheet.cases(Area.MANIFEST):
        yield Target(Area.MANIFEST, case, median, MANIFEST_MOST, BARE)
    for (case, quantity), limit in PER_PULL.items():
        yield Target(Area.TOKEN, case, quantity, limit)
    yield Target(Area.START, start.CASE, seconds, START_MOST, BARE)
