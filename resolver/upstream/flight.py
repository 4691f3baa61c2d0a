"""Flights: calls that are under way, each once for all who want to know its outcome."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any

from resolver.errors import Reason, ServiceUnavailable


class Flights[K: Hashable, R]:
    """Makes one call for each key at a time; belongs to one event loop."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[R]] = {}

    def __contains__(self, key: K) -> bool:
        """Return whether a call is under way."""
        return key in self._tasks

    async def join(self, key: K, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Return what the call returns or raises, or the one that is under way.

        That one may have begun long ago. Where its time is over the call is made, as
        there is time left for it; and where it was not made at all, as too many wait,
        that may have been for its own client.
        """
        if task := self._tasks.get(key):
            try:
                return await asyncio.shield(task)
            except ServiceUnavailable as error:
                if error.reason not in (Reason.TIMEOUT, Reason.BUSY):
                    raise
        task = self._tasks.get(key)
        if task is None:
            # Begun at once, so that what it takes from others is counted at once.
            loop = asyncio.get_running_loop()
            task = asyncio.Task(call(), loop=loop, eager_start=True)
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._land(key, done))
        # One client that goes away does not take the outcome from the others.
        return await asyncio.shield(task)

    def _land(self, key: K, task: asyncio.Task[R]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()  # Somebody may wait for it, or nobody any more.
