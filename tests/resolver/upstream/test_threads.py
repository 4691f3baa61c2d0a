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


def test_call_has_the_context_of_who_makes_it() -> None:
    """Calls run side by side, in threads of their name, each in its own context."""
    together = threading.Barrier(2)

    def call(letter: str) -> tuple[str, str]:
        together.wait(10)
        return NAME.get() + letter, threading.current_thread().name

    async def run(threads: Threads, name: str) -> tuple[str, str]:
        NAME.set(name)
        return await threads.run(call, "!")

    async def both() -> tuple[tuple[str, str], tuple[str, str]]:
        with closing(Threads(2, "sample")) as threads:
            return await asyncio.gather(run(threads, "a"), run(threads, "b"))

    answers = asyncio.run(both())
    assert [answer for answer, _ in answers] == ["a!", "b!"]
    assert all(thread.startswith("sample") for _, thread in answers)


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
