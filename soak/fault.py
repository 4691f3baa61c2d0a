"""Decides what is broken, and when; and which failures that explains.

A fault lasts a second or two and is followed by a longer time of peace, so that most
requests meet none. It explains what failed while it lasted, and for as long afterwards
as the proxy may still be waiting for an answer.
"""

import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, count
from random import Random
from threading import Event

from localcloud.relay import Failure, Fault
from localcloud.server import Response
from soak.scene import TIMEOUT_SECONDS, Scene

PEACE_SECONDS = (6.0, 14.0)
LASTING_SECONDS = (0.5, 2.5)
FIRST_SECONDS = 0.5
"""Before the first fault, so that a short soak has one as well."""
AFTERMATH_SECONDS = TIMEOUT_SECONDS + 1
RETRY_SECONDS = 0.2
IN_BLOB = b"application/octet-stream"
IN_MANIFEST = b'"schemaVersion"'
"""What stands in an answer shortly before it is to break off."""
IN_BODY = b"\r\n\r\n"

type Break = Callable[[Scene], object]


class Part(StrEnum):
    """What a request may need beside the proxy."""

    API = "API"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Breakage:
    """A fault with its name."""

    part: Part
    what: str
    begin: Break

    def __str__(self) -> str:
        """Return what the report calls it."""
        return f"{self.part} {self.what}"


def _api(failure: Failure, mark: bytes = b"", length: int = 0) -> Break:
    return lambda scene: scene.api.fail(Fault(failure, mark, length))


def _registry(failure: Failure, mark: bytes = b"", length: int = 0) -> Break:
    return lambda scene: scene.registry.fail(Fault(failure, mark, length))


def _answer(status: int, body: bytes = b"", *headers: tuple[str, str]) -> Break:
    def begin(scene: Scene) -> None:
        scene.cloud.api.interpose = lambda _: Response(status, headers, body)

    return begin


BREAKAGES = (
    Breakage(Part.API, "down", lambda scene: scene.api.refuse()),
    Breakage(Part.API, "drops connections", lambda scene: scene.api.drop()),
    Breakage(Part.API, "hanging", _api(Failure.HANG)),
    Breakage(Part.API, "resetting", _api(Failure.RESET)),
    Breakage(Part.API, "slow", _api(Failure.TRICKLE)),
    Breakage(Part.API, "cut off", _api(Failure.CUT, IN_BODY, 10)),
    Breakage(Part.API, "stalling", _api(Failure.STALL, IN_BODY, 10)),
    Breakage(Part.API, "says 500", _answer(500)),
    Breakage(Part.API, "says 429", _answer(429, b"", ("Retry-After", "7"))),
    Breakage(Part.API, "speaks no JSON", _answer(200, b"<html>")),
    Breakage(Part.API, "of a wrong shape", _answer(200, b'{"d":[{}]}')),
    Breakage(Part.REGISTRY, "down", lambda scene: scene.registry.refuse()),
    Breakage(Part.REGISTRY, "drops connections", lambda scene: scene.registry.drop()),
    Breakage(Part.REGISTRY, "hanging", _registry(Failure.HANG)),
    Breakage(Part.REGISTRY, "resetting", _registry(Failure.RESET)),
    Breakage(Part.REGISTRY, "slow", _registry(Failure.TRICKLE)),
    Breakage(Part.REGISTRY, "cut in heads", _registry(Failure.CUT, b"Content-Type")),
    Breakage(Part.REGISTRY, "cut in manifests", _registry(Failure.CUT, IN_MANIFEST)),
    Breakage(Part.REGISTRY, "cut in blobs", _registry(Failure.CUT, IN_BLOB, 300_000)),
    Breakage(
        Part.REGISTRY, "stalling in manifests", _registry(Failure.STALL, IN_MANIFEST)
    ),
    Breakage(
        Part.REGISTRY, "stalling in blobs", _registry(Failure.STALL, IN_BLOB, 300_000)
    ),
)


@dataclass(slots=True)
class _Span:
    breakage: Breakage
    began: float
    ended: float = float("inf")


class History:
    """What was broken when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spans: list[_Span] = []

    def begin(self, breakage: Breakage) -> None:
        """Take note that a fault is about to begin."""
        self._spans.append(_Span(breakage, self._clock()))

    def end(self) -> None:
        """Take note that the last fault is mended."""
        self._spans[-1].ended = self._clock()

    def current(self) -> Breakage | None:
        """Return what is broken at the moment."""
        last = self._spans[-1] if self._spans else None
        return last.breakage if last and last.ended > self._clock() else None

    def __len__(self) -> int:
        """Count the faults there have been."""
        return len(self._spans)

    def explain(
        self,
        needs: Collection[Part],
        began: float,
        ended: float,
        aftermath: float = AFTERMATH_SECONDS,
    ) -> Breakage | None:
        """Return the last fault that can be why a request with those needs failed."""
        for span in reversed(self._spans):
            meets = span.began <= ended and began <= span.ended + aftermath
            if meets and span.breakage.part in needs:
                return span.breakage
        return None


def break_now_and_then(
    scene: Scene, history: History, chance: Random, over: Event
) -> None:
    """Let one fault after the other begin and end, until it is over."""
    peace = chain([FIRST_SECONDS], (chance.uniform(*PEACE_SECONDS) for _ in count()))
    deck: list[Breakage] = []
    for seconds in peace:
        if over.wait(seconds):
            return
        deck = deck or chance.sample(BREAKAGES, len(BREAKAGES))
        breakage = deck.pop()
        history.begin(breakage)
        breakage.begin(scene)
        over.wait(chance.uniform(*LASTING_SECONDS))
        _mend(scene)
        history.end()


def _mend(scene: Scene) -> None:
    """Mend; a port that was closed may meanwhile be one end of a connection."""
    while True:
        with suppress(OSError):
            scene.mend()
            return
        time.sleep(RETRY_SECONDS)
