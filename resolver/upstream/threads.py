"""Blocking calls beside the event loop: the threads that make them, and the wait.

Every blocking call that a client waits for passes `Threads.run`, so this is the place
for whatever is to hold for all of them: each has a share of the threads (`Shares`), and
none holds one while it pauses (`Pause`). A call has a thread of its own, which ends
with it: a pool would keep hundreds after the first busy minute.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from itertools import count
from threading import Thread

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.deadline import Deadline
from resolver.upstream.pause import Pause, current_try
from resolver.upstream.share import Party, Shares, busy


def start_thread[R](name: str, function: Callable[[], R]) -> Future[R]:
    """Return what a function returns or raises, which runs in a thread.

    Nobody waits for the thread at the end of the program.

    Raises:
        RuntimeError: the system has no thread left.

    """
    future = Future[R]()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome = function()
        except BaseException as error:  # noqa: BLE001 - it is for who waits
            future.set_exception(error)
        else:
            future.set_result(outcome)

    Thread(target=run, name=name, daemon=True).start()
    return future


class Threads:
    """A number of threads that do one kind of work, so that no other waits for it.

    Belongs to one event loop.
    """

    def __init__(
        self,
        number: int,
        name: str,
        *,
        share: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Let no party have more than its share of the threads."""
        self._name = name
        self._shares = Shares(number, share or number)
        self._sleep = sleep

    async def run[*A, R](
        self,
        function: Callable[[*A], R],
        *arguments: *A,
        parties: tuple[Party, ...] = (),
    ) -> R:
        """Return what a function that blocks returns, run in the caller's context.

        It is for these parties, and runs anew after each `Pause` that it raises.

        Raises:
            ServiceUnavailable: so many calls wait that this one is not made, or there
                is no thread for it.

        """
        for number in count(1):
            context = contextvars.copy_context()
            context.run(current_try.set, number)
            try:
                return await self._run_once(
                    context, function, *arguments, parties=parties
                )
            except Pause as pause:
                seconds = pause.seconds
            await self._sleep(seconds)
        raise AssertionError("a call ends in its last try")

    def is_free(self, parties: tuple[Party, ...]) -> bool:
        """Return whether none of the parties has a share that is used up."""
        return self._shares.is_free(parties)

    def close(self) -> None:
        """Let nobody wait for a thread any more; what they do goes on."""
        self._shares.close()

    async def _run_once[*A, R](
        self,
        context: contextvars.Context,
        function: Callable[[*A], R],
        *arguments: *A,
        parties: tuple[Party, ...],
    ) -> R:
        await self._shares.take(parties)
        try:
            job = start_thread(self._name, lambda: context.run(function, *arguments))
        except RuntimeError as error:  # The system has none left.
            self._shares.give_back(parties)
            raise busy() from error
        call = asyncio.wrap_future(job)

        def end(done: asyncio.Future[R]) -> None:
            self._shares.give_back(parties)
            if not done.cancelled():
                done.exception()  # Whoever waited for it may be gone.

        call.add_done_callback(end)
        # A thread goes on when nobody waits for it any more, and has its share.
        return await asyncio.shield(call)


@asynccontextmanager
async def time_limit(deadline: Deadline, message: str) -> AsyncIterator[None]:
    """End what is awaited inside when the deadline comes.

    Raises:
        ServiceUnavailable: it came; with this message.

    """
    try:
        async with asyncio.timeout(deadline.remaining):
            yield
    except TimeoutError as error:
        raise ServiceUnavailable.because(Reason.TIMEOUT, message) from error
