"""How long it takes from the command to the first answer."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import visit
from bench.case import MEGA
from bench.comparison.contestant import BARE
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.recipe import Recipe
from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load
from bench.processor import Process
from bench.program import START_SECONDS, ProgramError, said, started
from bench.wire import BadAnswer, Wire
from serve import free_port

LOOK_SECONDS = 0.002
"""Between two attempts to ask; more often would slow down what starts."""
CASE = "first answer"


@dataclass(frozen=True, slots=True)
class Start:
    """A start of somebody."""

    recipe: Recipe
    stage: Stage

    @property
    def subject(self) -> Subject:
        """Who is started."""
        return Subject(Area.START, CASE, self.recipe.name)

    @property
    def is_peer(self) -> bool:
        """Whether the others go on where it fails."""
        return self.recipe.is_peer

    def rehearse(self) -> None:
        """Let its files be read, and compiled."""
        self.measure()

    def measure(self) -> Mapping[Quantity, float]:
        """Return how long it takes to send a client for a token, and its memory."""
        port, log = free_port(), self.stage.log(self.recipe.name)
        command, environment = self.recipe.command(port), self.recipe.environment
        request = visit.ask_base(f"localhost:{port}").request
        began = time.monotonic()
        with started(command, log=log, environment=environment) as process:
            while not _is_answered(port, request):
                if process.poll() is not None:
                    raise ProgramError(f"{self.recipe.name} ended; {said(log)}")
                if time.monotonic() - began > START_SECONDS:
                    raise ProgramError(f"{self.recipe.name} does not answer")
                time.sleep(LOOK_SECONDS)
            seconds = time.monotonic() - began
            memory = Process(process.pid).memory()
        return {Quantity.SECONDS: seconds, Quantity.MEMORY: memory / MEGA}


def _is_answered(port: int, request: bytes) -> bool:
    try:
        with Wire(port, None) as wire:
            return wire.ask(request).status == visit.SENT_FOR_A_TOKEN
    except (OSError, BadAnswer):
        return False


def _attempts(stage: Stage, _load: Load) -> Sequence[Attempt]:
    recipes = stage.starters(stage.site.streaming)
    return [Start(recipe, stage) for recipe in recipes]


DISCIPLINE = Discipline(
    area=Area.START,
    title="Start",
    text=(
        "From the command to the first challenge that a client gets, and the memory"
        " then."
    ),
    attempts=_attempts,
    rounds=15,
    minutes=0.5,
    base=BARE,
    headline=Quantity.SECONDS,
)
