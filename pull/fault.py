"""What ends a pull of the doctor's: a finding that is raised."""

from typing import Self

from cause.finding import Cause, Finding


class Fault(RuntimeError):
    """The pull failed; the message is one sentence."""

    def __init__(self, cause: Cause, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.cause = cause
        self.advice = advice

    @classmethod
    def of(cls, found: Finding) -> Self:
        """Return the finding as it is raised."""
        return cls(found.cause, found.sentence, found.advice)
