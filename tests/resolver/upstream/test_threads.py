"""Blocking calls run beside the event loop, in the caller's context, and in time."""

import asyncio
import threading
from contextlib import closing
from contextvars import ContextVar

import pytest

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.deadline import Deadline
from resolver.upstream.threads import Threads, time_limit

NAME: ContextVar[str] = ContextVar("name", default="")


def test_deadline_counts_down() -> None:
    """What remains shrinks with the clock, and is never negative."""
    times = iter([0.5, 0.5, 1.5, 3.0, 99.0])
    deadline = Deadline.after(2.5, times.__next__)
    assert [deadline.remaining for _ in range(4)] == [2.5, 1.5, 0.0, 0.0]


def test_call_has_the_context_of_who_makes_it() -> None:
    """Calls run side by side, in threads of their name, each in its own context."""
    together = threading.Barrier(2)

    def call(letter: str) -> str:
        together.wait(10)
        return f"{NAME.get()}{letter} {threading.current_thread().name[:6]}"

    async def run(threads: Threads, name: str) -> str:
        NAME.set(name)
        return await threads.run(call, "!")

    async def both() -> list[str]:
        with closing(Threads(2, "sample")) as threads:
            calls = asyncio.gather(run(threads, "a"), run(threads, "b"))
            return list(await calls)

    assert asyncio.run(both()) == ["a! sample", "b! sample"]


def test_time_limit_ends_the_wait() -> None:
    """Nobody waits past the deadline, whatever the thread does."""
    gate = threading.Event()

    async def wait(threads: Threads) -> None:
        async with time_limit(Deadline.after(0.01), "too late"):
            await threads.run(gate.wait, 10)

    with closing(Threads(1, "sample")) as threads:
        with pytest.raises(ServiceUnavailable, match="too late") as failed:
            asyncio.run(wait(threads))
        gate.set()
    assert failed.value.reason is Reason.TIMEOUT
