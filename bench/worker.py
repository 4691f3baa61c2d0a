"""A process of its own, behind a pipe: it ends when the other end of that is closed."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

type Pipe = Connection[object, object]


@contextmanager
def working(serve: Callable[..., None], *arguments: object) -> Iterator[Pipe]:
    """Let a process serve a pipe until the context ends.

    The function and its arguments, behind the pipe, have to be such as can be pickled.
    """
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(
        target=_serve, args=[serve, other, *arguments], daemon=True
    )
    process.start()
    other.close()
    try:
        yield pipe
    finally:
        pipe.close()
        process.join()


def _serve(serve: Callable[..., None], pipe: Pipe, *arguments: object) -> None:
    # Ctrl-C reaches every process of the terminal; the first one ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, BrokenPipeError):
        serve(pipe, *arguments)
