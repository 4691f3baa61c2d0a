"""Decides what several measurements of one thing say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

DIGITS = 3
"""As many as can be trusted, and one more."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What came out in each round."""

    rounds: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest."""
        return min(self.rounds), max(self.rounds)

    def __str__(self) -> str:
        """Return the median, and the spread behind it."""
        low, high = self.spread
        return f"{shown(self.middle)} ({shown(low)}-{shown(high)})"

    def as_json(self) -> dict[str, object]:
        """Return all that is known."""
        low, high = self.spread
        return {
            "median": self.middle,
            "low": low,
            "high": high,
            "rounds": list(self.rounds),
        }


def rounded(number: float) -> float:
    """Return the number with as many digits as are shown."""
    return float(f"{number:.{DIGITS}g}")


def shown(number: float) -> str:
    """Return the number in three digits, and never with an exponent."""
    value = rounded(number)
    return f"{value:,.0f}" if abs(value) >= 10 ** (DIGITS - 1) else f"{value:g}"


def quantile(numbers: Sequence[float], part: float) -> float:
    """Return the number that so large a part of them does not exceed."""
    ordered = sorted(numbers)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]
