"""Free memory, and when it goes back to the operating system.

What is read from the network comes in pieces of all sizes, and glibc keeps the room of
those between others: a proxy that took 90 MB takes 130 after twenty busy minutes, 40
of them free. Having each piece from the system halves the speed, so it is asked for
them now and then instead.
"""

import asyncio
import ctypes
import sys
from collections.abc import Callable

TRIM_SECONDS = 60
"""A heap of a hundred megabytes takes milliseconds."""
_MALLOC_OPTIONS = {-3: 4 << 20, -1: 8 << 20, -2: 1 << 20}
"""M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD of mallopt(3), in bytes. As they are
by default, the system hands out, clears and takes back the memory of each piece."""


def keep_memory_trimmed() -> None:
    """Give back what is free each minute, as long as the event loop runs."""
    if trim := _find_trim():
        for option, value in _MALLOC_OPTIONS.items():
            ctypes.CDLL(None).mallopt(option, value)
        _trim_again(asyncio.get_running_loop(), trim)


def _trim_again(loop: asyncio.AbstractEventLoop, trim: Callable[[int], object]) -> None:
    trim(0)
    loop.call_later(TRIM_SECONDS, _trim_again, loop, trim)


def _find_trim() -> Callable[[int], object] | None:
    """Return glibc's ``malloc_trim``, where that is the C library."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
