"""Repeats each property until its time is over."""

import logging
import time

import pytest

from tests.fuzz.profile import SECONDS


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a property round after round; each has a seed of its own."""
    if not SECONDS or not hasattr(pyfuncitem.obj, "hypothesis"):
        return None
    end = time.monotonic() + SECONDS
    logging.disable()  # pytest would keep every line of it.
    try:
        while time.monotonic() < end:
            pyfuncitem.obj(**pyfuncitem.funcargs)
    finally:
        logging.disable(logging.NOTSET)
    return True
