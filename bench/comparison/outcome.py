"""What came of a run, and how programs are told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.comparison.discipline import Discipline
from bench.comparison.sheet import Sheet
from bench.comparison.size import Sizes
from bench.comparison.target import Verdict, judge
from bench.machine import Machine


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that is known."""

    machine: Machine
    versions: Mapping[str, str]
    sizes: Sizes
    busy: float
    """How many processes wanted a core before it began, on average."""
    rounds: Mapping[Discipline, int]
    sheet: Sheet

    @property
    def verdicts(self) -> Sequence[Verdict]:
        """What came of the targets."""
        return judge(self.sheet)

    def as_json(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            "machine": asdict(self.machine),
            "versions": dict(self.versions),
            "load_average_before": self.busy,
            "sizes": asdict(self.sizes),
            "results": [
                {**asdict(subject), "quantity": quantity, **figure.as_json()}
                for subject, quantity, figure in self.sheet
            ],
            "targets": [verdict.as_json() for verdict in self.verdicts],
        }
