"""Large blobs that pass through, one and four at once, with TLS on either side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from bench import visit
from bench.case import MEGA
from bench.comparison import skopeo
from bench.comparison.contestant import NODE, Contestant
from bench.comparison.discipline import Attempt, Discipline
from bench.comparison.login import fetch_token
from bench.comparison.sheet import Area, Quantity, Subject
from bench.comparison.stage import Stage
from bench.load import Load, Task, Work

GIGA = 1_000_000_000
AS_IT_COMES = ("--set", "stream_large_bodies=1")
"""Lets bare mitmdump do with every body what the addon does with blobs."""
NUMBERS = (1, 4)
"""How many blobs at once."""
PATIENCE_SECONDS = 0
"""Nobody begins with a second blob."""


class Transport(StrEnum):
    """Where TLS is spoken."""

    PLAIN = "plain HTTP"
    CLIENT = "TLS to the client"
    REGISTRY = "TLS to the registry"
    BOTH = "TLS on both sides"


@dataclass(frozen=True, slots=True)
class Blobs:
    """A number of blobs for somebody's clients, one for each."""

    subject: Subject
    contestant: Contestant
    load: Load
    task: Task

    @property
    def is_peer(self) -> bool:
        """Whether the others go on where it fails."""
        return self.contestant.is_peer

    def rehearse(self) -> None:
        """Do nothing: so much passes each time that the first time is like any."""

    def measure(self) -> Mapping[Quantity, float]:
        """Return how fast they came, and what that took."""
        process = self.contestant.process
        if process is None:
            return _speed(self._work())
        process.forget_peak()
        before = process.processor_seconds()
        work = self._work()
        taken = process.processor_seconds() - before
        peak = process.peak_memory()
        return _speed(work) | {
            Quantity.PROCESSOR_PER_GIGABYTE: taken / (work.length / GIGA),
            Quantity.MEMORY_PEAK: peak / MEGA,
            Quantity.MEMORY_GROWTH: (peak - self.contestant.idle_memory) / MEGA,
        }

    def _work(self) -> Work:
        self.load.prepare(self.task)
        return self.load.work()


def case_of(transport: Transport, number: int) -> str:
    """Return how the table calls it."""
    return f"{transport}, {'one' if number == 1 else f'{number} at once'}"


def attempt_at(
    subject: Subject, contestant: Contestant, stage: Stage, load: Load, number: int
) -> Blobs:
    """Return the attempt of somebody to pass on so many at once."""
    goods = stage.site.goods
    name = skopeo.name_of(contestant, goods.image)
    step = visit.ask_blob(contestant.host, name, goods.blob, is_redirected=False)
    asked = visit.with_token(step, fetch_token(contestant, name))
    task = Task(
        contestant.port,
        ((asked,),),
        number,
        PATIENCE_SECONDS,
        is_tls=contestant.is_tls,
        is_rehearsed=False,
    )
    return Blobs(subject, contestant, load, task)


def _attempts(stage: Stage, load: Load) -> Sequence[Attempt]:
    return [
        attempt_at(
            Subject(Area.BLOB, case_of(transport, number), contestant.name),
            contestant,
            stage,
            load,
            number,
        )
        for transport in Transport
        for number in NUMBERS
        for contestant in _contestants(stage, transport)
    ]


def _contestants(stage: Stage, transport: Transport) -> Iterator[Contestant]:
    is_tls = transport in (Transport.CLIENT, Transport.BOTH)
    has_tls_behind = transport in (Transport.REGISTRY, Transport.BOTH)
    site = stage.site
    installation = site.encrypted if has_tls_behind else site.streaming
    if is_tls == has_tls_behind:
        yield stage.direct(installation)
    yield replace(stage.proxy(installation), is_tls=is_tls)
    yield from stage.node(installation, is_tls=is_tls)
    if transport is Transport.PLAIN:
        yield stage.bare(installation, *AS_IT_COMES)
        yield from stage.peers(installation)


def _speed(work: Work) -> dict[Quantity, float]:
    return {Quantity.SPEED: work.length / MEGA / work.seconds}


DISCIPLINE = Discipline(
    area=Area.BLOB,
    title="Large blobs",
    text=(
        "Blobs of {blob_megabytes} MB from a registry that streams them, thrown away"
        " by the client.\nWith TLS on both sides, direct is the registry over TLS."
        "\nProcessor and memory are those of the proxy's process; idle is what it had"
        " when it was started."
    ),
    attempts=_attempts,
    rounds=3,
    minutes=6,
    base=NODE,
    headline=Quantity.SPEED,
)
