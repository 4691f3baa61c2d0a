"""What everybody is measured at: one thing of each kind, and how it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load


class Attempt(Protocol):
    """One of them at one thing; it is measured again in each round."""

    @property
    def subject(self) -> Subject:
        """Who is measured at what."""

    @property
    def is_peer(self) -> bool:
        """Whether the others go on where it fails."""

    def rehearse(self) -> None:
        """Do once what would make the first round another one than the rest."""

    def measure(self) -> Mapping[Quantity, float]:
        """Return what came out.

        Raises:
            ProgramError: a program failed.
            LoadError: something was not answered as it has to be.

        """


@dataclass(frozen=True, slots=True)
class Discipline:
    """How it is measured, and shown."""

    area: Area
    title: str
    text: str
    """What has to be known to read the table."""
    attempts: Callable[[Stage, Load], Sequence[Attempt]]
    rounds: int
    minutes: float
    """About how long it takes, of a full run."""
    base: str
    """The contestant whom the others are compared with."""
    headline: Quantity
    """In what they are compared."""
    programs: tuple[str, ...] = ()
    """What has to be installed beside the registry."""

    def compared(self, quantities: Sequence[Quantity]) -> Quantity:
        """Return in which of these they are compared."""
        return self.headline if self.headline in quantities else quantities[0]
