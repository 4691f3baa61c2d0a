"""Repeats each property until its time is over, and says how often it was tried."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest

from tests.fuzz.profile import SECONDS


@dataclass(slots=True)
class Tried:
    """How often a property was tried."""

    rounds: int = 0
    examples: int = 0

    def counted(self, inner: Callable[..., None]) -> Callable[..., None]:
        """Return the property, which counts the examples that it holds for."""

        @wraps(inner)
        def count(*arguments: Any, **named: Any) -> None:
            inner(*arguments, **named)
            self.examples += 1

        return count


TRIED = pytest.StashKey[dict[str, Tried]]()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a property round after round; each has a seed of its own."""
    if not SECONDS:
        return None
    tried = Tried()
    pyfuncitem.config.stash.setdefault(TRIED, {})[pyfuncitem.name] = tried
    handle = pyfuncitem.obj.hypothesis
    handle.inner_test = tried.counted(handle.inner_test)
    end = time.monotonic() + SECONDS
    logging.disable()  # pytest would keep every line of it.
    try:
        while time.monotonic() < end:
            pyfuncitem.obj()
            tried.rounds += 1
    finally:
        logging.disable(logging.NOTSET)
    return True


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many examples there were, where they were not a fixed number."""
    found = config.stash.get(TRIED, {})
    if not found:
        return
    terminalreporter.section(f"{SECONDS} seconds for each property")
    for name, tried in found.items():
        terminalreporter.write_line(
            f"{tried.examples:>9} examples in {tried.rounds:>4} rounds  {name}"
        )
