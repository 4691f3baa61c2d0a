"""The time that is left for an answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment after which nobody waits for the answer any more."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        """Return the deadline that is so many seconds away."""
        return cls(clock() + seconds, clock)

    @property
    def remaining(self) -> float:
        """The seconds left, never negative."""
        return max(0.0, self.at - self.clock())
