"""Keeps what was measured, and decides how two of it are compared.

This machine is slower at one moment than at another. So a ratio is taken in each round,
of two figures that were measured right after each other, and only then the median.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bench.figure import Figure


class Area(StrEnum):
    """What is measured, as the command line has it."""

    PULL = "pull"
    BLOB = "blob"
    MANIFEST = "manifest"
    TOKEN = "token"  # noqa: S105 - no password
    START = "start"
    SCALE = "scale"


class Quantity(StrEnum):
    """What is counted, with its unit."""

    SECONDS = "seconds"
    SPEED = "MB/s"
    PROCESSOR_PER_GIGABYTE = "CPU s/GB"
    MEMORY_PEAK = "peak MB"
    MEMORY_GROWTH = "MB above idle"
    MEMORY = "MB"
    MEDIAN = "p50 ms"
    SLOW = "p99 ms"
    RATE = "requests/s"
    PROCESSOR_PER_REQUEST = "CPU ms/request"
    LOOK_UPS = "resolutions"
    TOKENS = "token requests"

    @property
    def is_better_high(self) -> bool:
        """Whether more of it is better."""
        return self in (Quantity.SPEED, Quantity.RATE)


@dataclass(frozen=True, slots=True)
class Subject:
    """Who was measured at what."""

    area: Area
    case: str
    contestant: str


class Sheet:
    """The values of all rounds."""

    def __init__(self) -> None:
        self._values: dict[Subject, dict[Quantity, list[float]]] = {}

    def add(self, subject: Subject, values: Mapping[Quantity, float]) -> None:
        """Take note of a round."""
        kept = self._values.setdefault(subject, defaultdict(list))
        for quantity, value in values.items():
            kept[quantity].append(value)

    def drop(self, area: Area, contestant: str) -> None:
        """Forget somebody who could not go on: the rounds would not match."""
        for subject in list(self._values):
            if (subject.area, subject.contestant) == (area, contestant):
                del self._values[subject]

    def figure(self, subject: Subject, quantity: Quantity) -> Figure | None:
        """Return what came out, if it was measured."""
        values = self._values.get(subject, {}).get(quantity)
        return Figure(tuple(values)) if values else None

    def ratio(
        self, subject: Subject, base: Subject, quantity: Quantity
    ) -> Figure | None:
        """Return how many times as much it is, round by round."""
        above, below = self.figure(subject, quantity), self.figure(base, quantity)
        if above is None or below is None or not all(below.rounds):
            return None
        pairs = zip(above.rounds, below.rounds, strict=True)
        return Figure(tuple(over / under for over, under in pairs))

    def subjects(self, area: Area) -> list[Subject]:
        """Return whatever was measured there, by case."""
        cases = self.cases(area)
        found = [subject for subject in self._values if subject.area is area]
        return sorted(found, key=lambda subject: cases.index(subject.case))

    def cases(self, area: Area) -> list[str]:
        """Return at what it was measured."""
        found = [subject.case for subject in self._values if subject.area is area]
        return list(dict.fromkeys(found))

    def quantities(self, area: Area, case: str) -> tuple[Quantity, ...]:
        """Return what was counted of anybody at that."""
        counted = {
            quantity
            for subject in self.subjects(area)
            if subject.case == case
            for quantity in self._values[subject]
        }
        return tuple(quantity for quantity in Quantity if quantity in counted)

    def __iter__(self) -> Iterator[tuple[Subject, Quantity, Figure]]:
        """Go through all of it."""
        for subject, quantities in self._values.items():
            for quantity, values in quantities.items():
                yield subject, quantity, Figure(tuple(values))
