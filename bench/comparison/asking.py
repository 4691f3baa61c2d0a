"""Small requests, one after the other, on connections that are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench.comparison.contestant import Contestant
from bench.comparison.sheet import Quantity, Subject
from bench.figure import quantile
from bench.load import Load, Task
from bench.visit import Visit

MILLI = 1000
REHEARSAL_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Asking:
    """Clients of somebody that ask, each of them again and again."""

    subject: Subject
    contestant: Contestant
    load: Load
    task: Task

    @property
    def is_peer(self) -> bool:
        """Whether the others go on where it fails."""
        return self.contestant.is_peer

    def rehearse(self) -> None:
        """Let them ask for a while, and forget it."""
        self.load.prepare(replace(self.task, seconds=REHEARSAL_SECONDS))
        self.load.work()

    def measure(self) -> Mapping[Quantity, float]:
        """Return how long they wait, how many are answered, and what that takes."""
        self.load.prepare(self.task)
        process = self.contestant.process
        before = process.processor_seconds() if process else 0.0
        work = self.load.work()
        taken = process.processor_seconds() - before if process else 0.0
        count = len(work.visits)
        values = {
            Quantity.MEDIAN: MILLI * quantile(work.visits, 0.5),
            Quantity.SLOW: MILLI * quantile(work.visits, 0.99),
            Quantity.RATE: count / work.seconds,
        }
        if process:
            values[Quantity.PROCESSOR_PER_REQUEST] = MILLI * taken / count
        return values


def asking(
    subject: Subject,
    contestant: Contestant,
    load: Load,
    visits: tuple[Visit, ...],
    clients: int,
    seconds: float,
) -> Asking:
    """Return so many clients, of which each asks for one of these, in turn."""
    task = Task(contestant.port, visits, clients, seconds, is_tls=contestant.is_tls)
    return Asking(subject, contestant, load, task)


def connections(number: int) -> str:
    """Return how the table calls it."""
    return "1 connection" if number == 1 else f"{number} connections"
