"""Decides how it is measured: all cases one after the other, and that several times.

What slows the machine down for a while then slows down a bit of each case, and not one
of them altogether.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

from bench.case import Case, Name
from bench.figure import Figure, quantile
from bench.load import Load
from bench.processor import Process

type Say = Callable[[str], None]


@dataclass(slots=True)
class Rounds:
    """What came out in each round; TLS is that between client and proxy."""

    per_processor_second: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    median_seconds: list[float] = field(default_factory=list)
    slow_seconds: list[float] = field(default_factory=list)
    """How long one of a hundred visits took at least."""


@dataclass(frozen=True, slots=True)
class Result:
    """What is known of a case."""

    name: Name
    is_tls: bool
    per_processor_second: Figure
    """What one second of a core's time is enough for."""
    per_second: Figure
    """What was done in one second on the clock, with all the clients at once."""
    median_seconds: Figure
    slow_seconds: Figure

    def as_json(self) -> dict[str, object]:
        """Return all of it."""
        return {
            "name": str(self.name),
            "tls": self.is_tls,
            "per_cpu_second": self.per_processor_second.as_json(),
            "per_second": self.per_second.as_json(),
            "p50_seconds": self.median_seconds.as_json(),
            "p99_seconds": self.slow_seconds.as_json(),
        }


def measure(
    cases: Sequence[Case], load: Load, *, rounds: int, seconds: float, say: Say
) -> list[Result]:
    """Return what came of each case."""
    found: defaultdict[tuple[Name, bool], Rounds] = defaultdict(Rounds)
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for case, is_tls in product(cases, (False, True)):
            _measure(case, load, seconds, found[case.name, is_tls], is_tls=is_tls)
    return [
        Result(
            name,
            is_tls,
            Figure(tuple(came.per_processor_second)),
            Figure(tuple(came.per_second)),
            Figure(tuple(came.median_seconds)),
            Figure(tuple(came.slow_seconds)),
        )
        for (name, is_tls), came in found.items()
    ]


def _measure(
    case: Case, load: Load, seconds: float, rounds: Rounds, *, is_tls: bool
) -> None:
    process = Process(case.proxy.process.pid)
    load.prepare(case.task(seconds, is_tls=is_tls))
    before = process.processor_seconds()
    work = load.work()
    taken = process.processor_seconds() - before
    amount = case.amount(work)
    rounds.per_processor_second.append(amount / taken)
    rounds.per_second.append(amount / work.seconds)
    rounds.median_seconds.append(quantile(work.visits, 0.5))
    rounds.slow_seconds.append(quantile(work.visits, 0.99))
