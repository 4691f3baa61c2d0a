"""The least rate at which a client has to take what it is sent.

A connection whose client reads a few bytes now and then is busy for ever. What counts
is what the client's machine has acknowledged, while there is more for it: who waits for
a slow registry is not slow.
"""

import sys
from asyncio import WriteTransport

if sys.platform != "win32":
    import fcntl
    import termios

BYTES_PER_SECOND = 1000
"""Less than any line has on which an image could be pulled."""
WINDOW_SECONDS = 120
"""A machine that writes to a slow disk, or a line that fails, may need a while."""
LEAST_RATE = f"{BYTES_PER_SECOND} bytes a second for {WINDOW_SECONDS // 60} minutes"
"""In words."""


class Pace:
    """How much was sent to a client, and whether it takes enough of that."""

    def __init__(self, transport: WriteTransport) -> None:
        self._transport = transport
        self._since: float | None = None
        self._taken = 0
        self.sent = 0
        """Bytes, without those that TLS adds."""

    def is_too_slow(self, now: float) -> bool:
        """Return whether the client took too little while there was more for it.

        To be asked several times in each window.
        """
        waiting = self._transport.get_write_buffer_size()
        if not waiting:
            self._since = None
            return False
        taken = self.sent - waiting - _unacknowledged(self._transport)
        if self._since is None:
            self._since, self._taken = now, taken
        if (seconds := now - self._since) < WINDOW_SECONDS:
            return False
        is_slow = taken - self._taken < seconds * BYTES_PER_SECOND
        self._since, self._taken = now, taken
        return is_slow


def _unacknowledged(transport: WriteTransport) -> int:
    """Return how many bytes the system holds for the client, where it says so.

    It takes megabytes at once and is silent for long, on a slow line.
    """
    connection = transport.get_extra_info("socket")
    if sys.platform == "win32" or connection is None:
        return 0
    try:
        count = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int.from_bytes(count, sys.byteorder)
