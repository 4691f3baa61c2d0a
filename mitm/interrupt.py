"""Ctrl-C before mitmproxy takes it: a line, and the status of a shell.

It is loaded before what takes time to load, and so it needs next to nothing itself.
"""

import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType

STATUS = 128 + signal.SIGINT
LINE = b"registry proxy: interrupted\n"
_STDERR = 2


def install() -> None:
    """End by a line from now on; mitmproxy puts its own way in this place."""
    # Who was started with the signal ignored, as by `nohup`, is to ignore it.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)


def unwinding(work: Callable[[], int]) -> int:
    """Return the status of some work, which takes away what it began if it is ended."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        return work()
    except KeyboardInterrupt:
        sys.stderr.write(LINE.decode())
        return STATUS


def _end(_number: int, _frame: FrameType | None) -> None:
    """End at once: an exception would be in the middle of whatever is loaded."""
    try:
        # A pipe that nobody reads would hold up the end.
        if select.select((), (_STDERR,), (), 0)[1]:
            os.write(_STDERR, LINE)
    finally:
        os._exit(STATUS)
