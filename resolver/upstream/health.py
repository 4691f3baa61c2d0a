"""Whether pulls can succeed: registry and API answer, or did a moment ago.

Whatever was heard from either counts; only after a silence it is asked. So the check
is cheap while pulls go on, and nobody can use it to keep registry and API busy.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from resolver.errors import RateLimited, RegistryError
from resolver.grammar.timestamp import format_timestamp
from resolver.upstream.deadline import Deadline
from resolver.upstream.observer import Contact, Event, Part
from resolver.upstream.registry import Upstream
from resolver.upstream.threads import Threads, time_limit

logger = logging.getLogger(__name__)

FRESH_SECONDS = 10
"""How long a part counts as reachable after it was heard, or as not, after a check."""
CHECK_SECONDS = 5
"""How long a check waits for an answer."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a part."""

    is_reachable: bool
    seen_at: float | None
    """Seconds since the epoch; None where it was never heard."""


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
        self, upstream: Upstream, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._probes: Mapping[Part, Callable[[Deadline], None]] = {
            Part.REGISTRY: upstream.probe_registry,
            Part.API: upstream.probe_api,
        }
        self._seen: dict[Part, float] = {}
        self._missed: dict[Part, float] = {}
        self._checks: dict[Part, asyncio.Task[Sight]] = {}
        self._was_ready = True
        self._threads = Threads(len(self._probes), "balena-health")

    def note(self, event: Event) -> None:
        """Take note of a part that just answered."""
        if isinstance(event, Contact):
            self._saw(event.part)

    def _saw(self, part: Part) -> None:
        self._seen[part] = self._clock()
        self._missed.pop(part, None)

    async def check(self, *, is_stopping: bool = False) -> Readiness:
        """Return what is known, after having asked for what is not."""
        sights = await asyncio.gather(*(self._look(part) for part in Part))
        readiness = Readiness(dict(zip(Part, sights, strict=True)), is_stopping)
        if readiness.is_ready != self._was_ready:
            self._was_ready = readiness.is_ready
            level = logging.INFO if readiness.is_ready else logging.WARNING
            logger.log(level, "readiness: %s", readiness.body.decode())
        return readiness

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._threads.close()

    async def _look(self, part: Part) -> Sight:
        now = self._clock()
        seen, missed = self._seen.get(part), self._missed.get(part)
        if seen is not None and now - seen < FRESH_SECONDS:
            return Sight(is_reachable=True, seen_at=seen)
        if missed is not None and now - missed < FRESH_SECONDS:
            return Sight(is_reachable=False, seen_at=seen)
        if part not in self._checks:
            check = asyncio.create_task(self._ask(part))
            self._checks[part] = check
            check.add_done_callback(lambda _: self._checks.pop(part))
        return await asyncio.shield(self._checks[part])

    async def _ask(self, part: Part) -> Sight:
        deadline = Deadline.after(CHECK_SECONDS)
        try:
            async with time_limit(deadline, f"{part} does not answer in time"):
                await self._threads.run(self._probes[part], deadline)
        except RateLimited:
            self._saw(part)
        except RegistryError:
            self._missed[part] = self._clock()
        else:
            self._saw(part)
        return Sight(part not in self._missed, self._seen.get(part))
