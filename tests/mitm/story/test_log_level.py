"""Lines that nobody gets to see are not made."""

import logging
from collections.abc import Iterator

import pytest
from mitmproxy.log import LegacyLogEvents
from mitmproxy.test import taddons

from mitm.story.log_level import spare_unread_lines

CONNECTIONS = logging.getLogger("mitmproxy.proxy.server")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root of all loggers, with mitmproxy's handlers and no others."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers[:] = []
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    CONNECTIONS.setLevel(logging.NOTSET)


class Listener:
    """An addon of old, which takes lines as events."""

    def add_log(self, entry: object) -> None:
        """Take a line."""


@pytest.mark.parametrize(
    ("addons", "verbosity", "expected"),
    [
        ((), logging.INFO, logging.INFO),
        ((), logging.DEBUG, logging.DEBUG),
        ((), logging.NOTSET, logging.DEBUG),
        ((Listener(),), logging.INFO, logging.DEBUG),
    ],
)
def test_level_is_that_of_whoever_reads(
    root: logging.Logger, addons: tuple[object, ...], verbosity: int, expected: int
) -> None:
    """The events of mitmproxy count only where an addon takes them."""
    with taddons.context(*addons) as context:
        root.handlers[:] = [
            LegacyLogEvents(context.master),
            logging.StreamHandler(),
        ]
        root.handlers[1].setLevel(verbosity)
        root.handlers[0].setLevel(logging.DEBUG)
        spare_unread_lines()
        assert root.level == expected
        # What is said of each connection is for who reads details.
        assert CONNECTIONS.isEnabledFor(logging.INFO) == (expected == logging.DEBUG)
