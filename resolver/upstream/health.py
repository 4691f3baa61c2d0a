"""Whether pulls can succeed: registry and API answer, or did a moment ago.

Whatever was heard from either counts; only after a silence it is asked. So the check
is cheap while pulls go on, and nobody can use it to keep registry and API busy.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from resolver.errors import RateLimited, Reason, RegistryError
from resolver.grammar.timestamp import format_timestamp
from resolver.upstream.deadline import Deadline
from resolver.upstream.flight import Flights
from resolver.upstream.observer import Contact, Event, Part
from resolver.upstream.registry import Upstream
from resolver.upstream.threads import Threads, time_limit

logger = logging.getLogger(__name__)

FRESH_SECONDS = 10
"""How long a part counts as reachable after it was heard, or as not, after a check."""
_TRY_AGAIN = "; try again later"
"""What clients are told at the end, and operators know."""
_NAMES = {Part.REGISTRY: "registry", Part.API: "API"}
CHECK_SECONDS = 5
"""How long a check waits for an answer."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a part."""

    is_reachable: bool
    seen_at: float | None
    """Seconds since the epoch; None where it was never heard."""


@dataclass(frozen=True, slots=True)
class _Finding:
    """What was heard last of a part, or what a check came to."""

    at: float
    """By the clock that nobody sets."""
    sight: Sight
    explanation: str = ""
    """Who it is that is not reachable, and why."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is known of both parts."""

    parts: Mapping[Part, Sight]
    is_stopping: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether a pull can be expected to succeed."""
        return not self.is_stopping and all(
            sight.is_reachable for sight in self.parts.values()
        )

    @property
    def body(self) -> bytes:
        """The state as JSON; no host is named in it, as anybody may ask."""
        state: dict[str, object] = {"ready": self.is_ready}
        if self.is_stopping:
            state["stopping"] = True
        for part, sight in self.parts.items():
            seen = sight.seen_at and format_timestamp(sight.seen_at)
            state[part] = {"reachable": sight.is_reachable, "last_seen": seen}
        return json.dumps(state).encode()


class Health:
    """Remembers when registry and API were heard last, and asks them if need be.

    An `Observer`; its checks belong to one event loop.
    """

    def __init__(
        self,
        upstream: Upstream,
        parts: Collection[Part] = tuple(Part),
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Watch over these parts of what a pull needs."""
        self._upstream = upstream
        self._parts = parts
        self._clock = clock
        self._wall_clock = wall_clock
        self._probes: Mapping[Part, Callable[[Deadline], None]] = {
            Part.REGISTRY: upstream.probe_registry,
            Part.API: upstream.probe_api,
        }
        self._findings: dict[Part, _Finding] = {}
        self._checks: Flights[Part, Sight] = Flights()
        self._was_ready = True
        self._threads = Threads(len(self._probes), "balena-health")

    def note(self, event: Event) -> None:
        """Take note of a part that just answered."""
        if isinstance(event, Contact) and event.part in self._parts:
            self._find(event.part)

    def _find(self, part: Part, error: RegistryError | None = None) -> Sight:
        is_reachable = error is None
        before = self._findings.get(part)
        seen_at = before.sight.seen_at if before else None
        sight = Sight(is_reachable, self._wall_clock() if is_reachable else seen_at)
        explanation = self._explain(part, error) if error else ""
        self._findings[part] = _Finding(self._clock(), sight, explanation)
        return sight

    async def check(self, *, is_stopping: bool = False) -> Readiness:
        """Return what is known, after having asked for what is not."""
        sights = await asyncio.gather(*map(self._look, self._parts))
        readiness = Readiness(dict(zip(self._parts, sights, strict=True)), is_stopping)
        if readiness.is_ready != self._was_ready:
            self._was_ready = readiness.is_ready
            level = logging.INFO if readiness.is_ready else logging.WARNING
            why = "".join(f"; {finding.explanation}" for finding in self._failing())
            logger.log(level, "readiness: %s%s", readiness.body.decode(), why)
        return readiness

    async def announce(self) -> None:
        """Log of each part whether it can be reached, and why not."""
        for part in self._parts:
            sight = await self._look(part)
            if sight.is_reachable:
                logger.info("%s can be reached", self._name(part))
            else:
                logger.warning("%s", self._findings[part].explanation)

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._threads.close()

    def _name(self, part: Part) -> str:
        """Return the part with its URL, as far as that is known."""
        return f"the {_NAMES[part]} {self._upstream.url_of(part)}".rstrip()

    def _explain(self, part: Part, error: RegistryError) -> str:
        """Return who it is that is not reachable, and why, in words."""
        name, registry = self._name(part), self._upstream.url_of(Part.REGISTRY)
        error.blame(registry if part is Part.REGISTRY else self._upstream.asked[0])
        if error.server == registry != self._upstream.url_of(part):
            return f"{name} cannot be asked without the registry {registry}"
        reason = error.cause or error.message.removesuffix(_TRY_AGAIN)
        is_silent = error.cause or getattr(error, "reason", None) is Reason.TIMEOUT
        return f"{name} {'cannot be reached' if is_silent else 'fails'}: {reason}"

    def _failing(self) -> list[_Finding]:
        """Return what is known of the parts that are not reachable, each cause once."""
        failing = (each for each in self._findings.values() if each.explanation)
        return list({each.explanation: each for each in failing}.values())

    async def _look(self, part: Part) -> Sight:
        finding = self._findings.get(part)
        if finding and self._clock() - finding.at < FRESH_SECONDS:
            return finding.sight
        return await self._checks.join(part, lambda: self._ask(part))

    async def _ask(self, part: Part) -> Sight:
        deadline = Deadline.after(CHECK_SECONDS)
        try:
            async with time_limit(
                deadline, f"it does not answer within {CHECK_SECONDS} s"
            ):
                await self._threads.run(self._probes[part], deadline)
        except RateLimited:
            return self._find(part)
        except RegistryError as error:
            return self._find(part, error)
        return self._find(part)
