"""Turns in rounds, and the table of what came of them."""

import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from statistics import median

from bench.contestant import PROXY
from demo.terminal import say

MEGA = 1_000_000
CPUINFO = Path("/proc/cpuinfo")

type Figures = Mapping[str, float]
"""What a turn found, by quantity."""
type Turn = tuple[str, str, str, Callable[[], Figures]]
"""What is measured of somebody in every round: area, case, name, and how."""


@dataclass(frozen=True, slots=True)
class Table:
    """What is measured in one area."""

    title: str
    ratios: Sequence[str] = ()
    """The quantities by which the proxy is compared with everybody else."""
    rounds: dict[tuple[str, str], list[Figures]] = field(default_factory=dict)
    """What came of each case and each name, round by round."""

    def markdown(self) -> str:
        """Return the medians, with the lowest and the highest figure behind each."""
        found = (f for rounds in self.rounds.values() for f in rounds[0])
        quantities = list(dict.fromkeys(found))
        head = [
            "",
            "",
            *quantities,
            *(f"proxy's {name}, times" for name in self.ratios),
        ]
        lines = [f"### {self.title}", "", _row(head), _row(["---"] * len(head))]
        for (case, name), rounds in self.rounds.items():
            cells = [_shown([f[q] for f in rounds if q in f]) for q in quantities]
            cells += [_shown(self._ratio(case, name, q)) for q in self.ratios]
            lines.append(_row([case, name, *cells]))
        return "\n".join([*lines, ""])

    def _ratio(self, case: str, name: str, quantity: str) -> list[float]:
        """Return the proxy's figure, times that of somebody else, in each round."""
        ours, theirs = self.rounds.get((case, PROXY), []), self.rounds[case, name]
        return [
            our[quantity] / their[quantity]
            for our, their in zip(ours, theirs, strict=True)
            if name != PROXY and quantity in their
        ]


def hold(turns: Iterable[Turn], tables: Mapping[str, Table], rounds: int) -> None:
    """Let everybody take all turns in every round, and print the tables.

    The first round, in which everything gets warm, is not counted.
    """
    cases: dict[tuple[str, str], list[Turn]] = {}
    for turn in turns:
        cases.setdefault(turn[:2], []).append(turn)
    for area, case, name, _ in chain.from_iterable(cases.values()):
        tables[area].rounds[case, name] = []
    for number in range(rounds + 1):
        sys.stderr.write(f"Round {number} of {rounds}.\n")
        for everybody in cases.values():
            # Whoever comes first meets another machine than who comes last.
            first = number % len(everybody)
            for area, case, name, measure in everybody[first:] + everybody[:first]:
                figures = measure()
                if number:
                    tables[area].rounds[case, name].append(figures)
    say(_machine())
    for table in tables.values():
        say(table.markdown())


def _machine() -> str:
    """Return what it is measured on, in a sentence."""
    name = CPUINFO.read_text().partition("model name\t: ")[2].partition("\n")[0]
    versions = f"Python {platform.python_version()}, mitmproxy {version('mitmproxy')}"
    system = f"{platform.system()} {platform.release().partition('-')[0]}"
    machine = f"{name}, {os.cpu_count()} cores, {system}"
    return f"Measured on {machine}; {versions}.\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(numbers: list[float]) -> str:
    if not numbers:
        return ""
    middle, low, high = (
        f"{float(f'{number:.3g}'):,g}"
        for number in (median(numbers), min(numbers), max(numbers))
    )
    return middle if low == high else f"{middle} ({low}–{high})"  # noqa: RUF001
