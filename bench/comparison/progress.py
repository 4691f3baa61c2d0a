"""Decides how long it is said to take yet: as long as what was done, or as guessed."""

from collections.abc import Mapping

from bench.comparison.discipline import Discipline

MINUTE = 60


class Progress:
    """What is left of a run."""

    def __init__(self, rounds: Mapping[Discipline, int], *, is_full: bool) -> None:
        """Begin.

        Args:
            rounds: of each discipline.
            is_full: whether sizes are those that the guesses are for.

        """
        scale = MINUTE if is_full else 1
        self._left = dict(rounds)
        self._seconds = {
            discipline: scale * discipline.minutes / discipline.rounds
            for discipline in rounds
        }

    def measured(self, discipline: Discipline, seconds: float) -> None:
        """Take note of a round; the next one will take as long."""
        self._left[discipline] -= 1
        self._seconds[discipline] = seconds

    def left(self) -> str:
        """Return how long the rounds will take that are left, in words."""
        seconds = sum(
            number * self._seconds[discipline]
            for discipline, number in self._left.items()
        )
        if seconds < MINUTE:
            return "less than a minute left"
        minutes = round(seconds / MINUTE)
        return (
            "about a minute left" if minutes == 1 else f"about {minutes} minutes left"
        )
