"""A connection to the API that is there before the API is asked.

Whoever asks the registry without a token is told to get one. While the registry is
asked, which on a new connection takes three round trips, the API is connected to, which
takes two.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from resolver.upstream.registry import Upstream
from resolver.upstream.threads import start_thread

PAUSE_SECONDS = 1
"""How often that is at most, whoever asks: each time takes a thread."""


class Preparer(Protocol):
    """What connects: `resolver.upstream.transport.Transport`."""

    def prepare(self, url: str) -> None:
        """Connect to a server, unless a connection is kept. Blocks."""


class ApiConnection:
    """Is made ahead of a request for a token."""

    def __init__(
        self,
        upstream: Upstream,
        transport: Preparer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstream = upstream
        self._transport = transport
        self._clock = clock
        self._next = float("-inf")

    def expect_request(self) -> None:
        """Connect in a thread, unless that was done a moment ago."""
        backend = self._upstream.backend
        if backend is None or self._clock() < self._next:
            return
        self._next = self._clock() + PAUSE_SECONDS
        url = backend.api.url
        with suppress(RuntimeError):  # No thread is left, so it is made later.
            start_thread("balena-ahead", lambda: self._transport.prepare(url))
