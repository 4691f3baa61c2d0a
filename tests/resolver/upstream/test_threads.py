"""Blocking calls run beside the event loop, in the caller's context, and in time."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar

import pytest

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.deadline import Deadline
from resolver.upstream.pause import TRIES, Pause, current_try
from resolver.upstream.share import Party
from resolver.upstream.threads import Threads, time_limit

NAME: ContextVar[str] = ContextVar("name", default="")
HANGING: tuple[Party, ...] = (("address", "hanging"),)


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


def test_pause_holds_no_thread() -> None:
    """While one call pauses the only thread is another's; then it is made anew."""
    tries: list[int] = []

    def limited() -> str:
        tries.append(current_try.get())
        if len(tries) < TRIES:
            raise Pause(7)
        return "answered"

    async def play() -> None:
        pausing, go_on = asyncio.Event(), asyncio.Event()
        pauses: list[float] = []

        async def sleep(seconds: float) -> None:
            pauses.append(seconds)
            pausing.set()
            await go_on.wait()

        with closing(Threads(1, "sample", sleep=sleep)) as threads:
            call = asyncio.create_task(threads.run(limited))
            await asyncio.wait_for(pausing.wait(), 10)
            assert await asyncio.wait_for(threads.run(current_try.get), 10) == 1
            assert not call.done()
            go_on.set()
            assert await call == "answered"
        assert pauses == [7, 7]

    asyncio.run(play())
    assert tries == [1, 2, 3]
    assert current_try.get() == 0


@contextmanager
def hanging() -> Iterator[threading.Event]:
    """Yield what ends calls that hang, and end them."""
    gate = threading.Event()
    try:
        yield gate
    finally:
        gate.set()


def test_calls_that_hang_delay_no_other() -> None:
    """They have no more than their share, also when nobody waits for them any more."""
    began = threading.Semaphore(0)

    async def play(threads: Threads, gate: threading.Event) -> None:
        def hang() -> None:
            began.release()
            gate.wait(30)

        async def other() -> str:
            return await asyncio.wait_for(
                threads.run(str, parties=(("login", "x"),)), 10
            )

        calls = [
            asyncio.create_task(threads.run(hang, parties=HANGING)) for _ in range(60)
        ]
        for _ in range(2):
            await asyncio.to_thread(began.acquire, timeout=10)
        assert await other() == ""
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        again = asyncio.create_task(threads.run(hang, parties=HANGING))
        assert await other() == ""
        assert not began.acquire(blocking=False)
        gate.set()
        await again

    with hanging() as gate, closing(Threads(3, "sample", share=2)) as threads:
        asyncio.run(play(threads, gate))


def test_without_a_thread_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has none left, the call is not made later either."""
    made: list[str] = []

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def play(threads: Threads) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(ServiceUnavailable) as caught:
                await threads.run(made.append, "refused", parties=HANGING)
        assert caught.value.reason is Reason.BUSY
        await threads.run(made.append, "made", parties=HANGING)
        assert threads.is_free(HANGING)

    with closing(Threads(1, "sample", share=1)) as threads:
        asyncio.run(play(threads))
    assert made == ["made"]


def test_close_ends_the_wait_for_a_thread() -> None:
    """Who still waits at the end gets nothing, and hinders nobody."""

    async def play(threads: Threads, gate: threading.Event) -> None:
        calls = [asyncio.create_task(threads.run(gate.wait, 30)) for _ in range(3)]
        await asyncio.sleep(0)
        threads.close()
        gate.set()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert found[0] is True
        assert [type(each) for each in found[1:]] == [asyncio.CancelledError] * 2

    with hanging() as gate:
        asyncio.run(play(Threads(1, "sample"), gate))
