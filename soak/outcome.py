"""Decides what an answer was worth: as it should be, a fault's doing, or a finding.

::

    granted       what was asked for came, whole and with the right digest
    refused       what cannot be had was refused, with the right status and code
    left          the client itself went away
    failed        what fails where a part fails, while that part was broken
    unexplained   everything else

Never explained are wrong bytes, any other status or code than those of a failing
part, a connection closed without an answer, and more seconds than clients wait.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from soak.fault import AFTERMATH_SECONDS, History, Part

PATIENCE_SECONDS = 15
"""What clients wait at most."""
CLOSED = "closed without an answer"
BROKEN = "broken off"
SILENT = f"silent for {PATIENCE_SECONDS} s"
LEFT = "left by the client"
"""What may come beside a status."""
FAILURES = frozenset(
    {
        *("429", "502", "503"),
        *("429 TOOMANYREQUESTS", "502 UNAVAILABLE", "503 UNAVAILABLE"),
    }
)
"""What a client may be told where a part fails; there is no code beside HEAD."""
INTERRUPTION_SECONDS = 1
"""So long before an interruption is noticed its effects may be."""


class Outcome(StrEnum):
    """What a request came to."""

    GRANTED = "granted"
    REFUSED = "refused"
    LEFT = "left"
    FAILED = "failed"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what may come of it."""

    asked: str
    """As the report shows it, so without any secret."""
    expected: tuple[str, ...]
    needs: frozenset[Part] = frozenset()
    """The parts whose faults may be why it fails."""
    excused: frozenset[str] = FAILURES
    aftermath: float = AFTERMATH_SECONDS
    """Seconds after a fault for which it may fail."""
    is_slow: bool = False
    """Whether the client itself takes its time."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and what came: a status with its code, or another end."""

    question: Question
    came: str
    began: float
    ended: float
    defect: str = ""
    """What is wrong with an answer of the right status."""
    length: int = 0
    """Bytes of content."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and what there is to say about it."""

    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that must not be."""

    moment: float
    text: str


def judge(exchange: Exchange, history: History) -> Verdict:
    """Return what the exchange was worth."""
    question, came = exchange.question, exchange.came
    seconds = exchange.ended - exchange.began
    if exchange.defect:
        return Verdict(Outcome.UNEXPLAINED, exchange.defect)
    if seconds > PATIENCE_SECONDS and not question.is_slow:
        return Verdict(Outcome.UNEXPLAINED, f"{came} after {seconds:.1f} s")
    if came in question.expected:
        if came == LEFT:
            return Verdict(Outcome.LEFT, came)
        is_granted = came[0] in "23"
        return Verdict(Outcome.GRANTED if is_granted else Outcome.REFUSED, came)
    cause = history.explain(
        question.needs, exchange.began, exchange.ended, question.aftermath
    )
    if cause and came in question.excused:
        return Verdict(Outcome.FAILED, str(cause))
    return Verdict(Outcome.UNEXPLAINED, came)


class Tally:
    """Counts what requests came to, for many threads."""

    def __init__(self, history: History, clock: Callable[[], float]) -> None:
        self._history = history
        self._clock = clock
        self._lock = Lock()
        self._counts: Counter[Verdict] = Counter()
        self._findings: list[Finding] = []
        self.pulls = 0
        self.bytes = 0

    def note(self, exchange: Exchange) -> Verdict:
        """Judge an exchange and count it."""
        verdict = judge(exchange, self._history)
        with self._lock:
            self._counts[verdict] += 1
            self.bytes += exchange.length
        if verdict.outcome is Outcome.UNEXPLAINED:
            expected = " or ".join(exchange.question.expected)
            self.find(
                f"{exchange.question.asked}: {verdict.detail}; expected {expected}"
            )
        return verdict

    def pulled(self) -> None:
        """Count an image that is there as a whole."""
        with self._lock:
            self.pulls += 1

    def find(self, text: str) -> None:
        """Take note of something that must not be."""
        with self._lock:
            self._findings.append(Finding(self._clock(), text))

    def interrupt(self) -> None:
        """Forget what broke by the signal that ends the soak: the proxy gets it too."""
        last = self._clock() - INTERRUPTION_SECONDS
        with self._lock:
            self._findings = [f for f in self._findings if f.moment < last]

    @property
    def findings(self) -> list[Finding]:
        """All that must not be, in the order in which it was noticed."""
        return list(self._findings)

    @property
    def requests(self) -> int:
        """How many there have been."""
        return self._counts.total()

    def count(self, outcome: Outcome) -> Counter[str]:
        """Return how many requests came to that, by what there is to say."""
        with self._lock:
            return Counter(
                {
                    verdict.detail: number
                    for verdict, number in self._counts.items()
                    if verdict.outcome is outcome
                }
            )
