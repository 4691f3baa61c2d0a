"""Blocking calls beside the event loop: the threads that make them, and the wait.

Every blocking call that a client waits for passes `Threads.run`, so this is the place
for whatever is to hold for all of them: each has a share of the threads (`Shares`), and
none holds one while it pauses (`Pause`).
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import count

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.deadline import Deadline
from resolver.upstream.pause import Pause, current_try
from resolver.upstream.share import Party, Shares, busy


class Threads:
    """A number of threads that do one kind of work, so that no other waits for it.

    They begin when they are needed. Belongs to one event loop.
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
        self._pool = ThreadPoolExecutor(number, thread_name_prefix=name)
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
        """Let go of the threads, without waiting for what they still do."""
        self._shares.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run_once[*A, R](
        self,
        context: contextvars.Context,
        function: Callable[[*A], R],
        *arguments: *A,
        parties: tuple[Party, ...],
    ) -> R:
        await self._shares.take(parties)
        is_refused = False

        def work() -> R:
            if is_refused:
                raise busy()
            return context.run(function, *arguments)

        try:
            job = self._pool.submit(work)
        except RuntimeError as error:  # The system has no thread left.
            is_refused = True  # It is in the queue of those that there are.
            self._shares.give_back(parties)
            raise busy() from error
        call = asyncio.wrap_future(job)

        def end(done: asyncio.Future[R]) -> None:
            self._shares.give_back(parties)
            if not done.cancelled():
                done.exception()  # Whoever waited for it may be gone.

        call.add_done_callback(end)
        try:
            # A thread goes on when nobody waits for it any more, and has its share.
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            job.cancel()
            raise


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
