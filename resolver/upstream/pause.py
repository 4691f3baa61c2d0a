"""Pauses between the tries of a request, which hold no thread.

What blocks raises `Pause` where another try may help, and `Threads.run` awaits it in
the event loop and then runs the whole call anew. Where there is no loop, `Transport`
itself waits.
"""

from contextvars import ContextVar

TRIES = 3
"""Of a request, or of a call that `Threads.run` makes; the last one has no `Pause`."""

current_try: ContextVar[int] = ContextVar("current_try", default=0)
"""Which try of a call this is; 0 where nobody awaits a `Pause`."""


class Pause(Exception):
    """A try came to nothing, and another one may be made in so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds
