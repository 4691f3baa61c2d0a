"""Decides in which order it is measured: everybody in each round, and then anew.

What slows the machine down for a while then slows down all of them a bit. Every other
round goes backwards, so that nobody always comes after the same one.
"""

import time
from collections.abc import Sequence

from bench.comparison import blob, manifest, pull, scale, start, token
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.progress import Progress
from bench.comparison.sheet import Sheet
from bench.comparison.stage import Say
from bench.load import LoadError
from bench.program import ProgramError

DISCIPLINES = tuple(
    module.DISCIPLINE for module in (pull, blob, manifest, token, start, scale)
)


class Contest:
    """Measures one discipline after the other."""

    def __init__(self, progress: Progress, say: Say, *, is_rehearsed: bool) -> None:
        self._progress = progress
        self._say = say
        self._is_rehearsed = is_rehearsed
        self.sheet = Sheet()

    def hold(
        self, discipline: Discipline, everybody: Sequence[Attempt], rounds: int
    ) -> None:
        """Measure everybody in so many rounds.

        Raises:
            ProgramError: a program failed, and it is not a peer.
            LoadError: an answer was wrong, and it is not a peer's.

        """
        attempts = list(everybody)
        if self._is_rehearsed:
            self._say(f"{discipline.area}: once without looking at the clock")
            for attempt in list(attempts):
                self._try(attempt, attempts, is_rehearsal=True)
        for number in range(rounds):
            left = self._progress.left()
            self._say(f"{discipline.area}: round {number + 1} of {rounds}; {left}")
            began = time.monotonic()
            for attempt in attempts[:: -1 if number % 2 else 1]:
                if attempt in attempts:
                    self._try(attempt, attempts)
            self._progress.measured(discipline, time.monotonic() - began)

    def _try(
        self, attempt: Attempt, attempts: list[Attempt], *, is_rehearsal: bool = False
    ) -> None:
        """Let one of them try; a peer that fails is out, and all that it had done."""
        subject = attempt.subject
        try:
            if is_rehearsal:
                attempt.rehearse()
            else:
                self.sheet.add(subject, attempt.measure())
        except (ProgramError, LoadError) as error:
            if not attempt.is_peer:
                raise
            self._say(f"{subject.contestant} is left out of {subject.area}: {error}")
            attempts[:] = [
                other
                for other in attempts
                if other.subject.contestant != subject.contestant
            ]
            self.sheet.drop(subject.area, subject.contestant)
