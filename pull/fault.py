"""What ends a pull of the doctor's: a finding that is raised."""

from cause.finding import Cause


class Fault(RuntimeError):
    """The pull failed; the message is one sentence."""

    def __init__(self, cause: Cause, sentence: str, advice: str) -> None:
        super().__init__(sentence)
        self.cause = cause
        self.advice = advice
