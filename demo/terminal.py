"""Output and signals of a command that runs until somebody ends it."""

import signal
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

PREFERRED_PORT = 8080
"""The usual port, because it is the easiest to type."""


def add_arguments(parser: ArgumentParser) -> None:
    """Declare when it ends."""
    parser.add_argument(
        "--once", action="store_true", help="end after it, as with ONCE=1"
    )


def say(text: str) -> None:
    """Print a line; one that ends in a carriage return is written over."""
    if text.endswith("\r") and not sys.stdout.isatty():
        return
    sys.stdout.write(text if text.endswith("\r") else f"{text}\n")
    sys.stdout.flush()


@contextmanager
def until_ended() -> Iterator[Callable[[], object]]:
    """Yield a wait for Ctrl-C and its like, which end everything in the context."""
    end = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        end.set()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        yield end.wait
    except KeyboardInterrupt:
        say("\nEnded.")


def interrupt_once(_signal: int, _frame: FrameType | None) -> None:
    """Interrupt the command, and ignore further signals while it cleans up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
