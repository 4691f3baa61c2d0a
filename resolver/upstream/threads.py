"""Blocking calls beside the event loop: the threads that make them, and the wait.

Every blocking call of the resolver passes `Threads.run`, so this is the place for
whatever is to hold for all of them.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from resolver.errors import Reason, ServiceUnavailable
from resolver.upstream.deadline import Deadline


class Threads:
    """A number of threads that do one kind of work, so that no other waits for it."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run[*A, R](self, function: Callable[[*A], R], *arguments: *A) -> R:
        """Return what a function that blocks returns, run in the caller's context."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, context.run, function, *arguments
        )

    def close(self) -> None:
        """Let go of the threads, without waiting for what they still do."""
        self._pool.shutdown(wait=False, cancel_futures=True)


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
