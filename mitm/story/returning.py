"""Clients that were to come back, and whether they do.

A request that does not reach the proxy cannot be seen, so that a client cannot reach
the realm, or goes away without TLS, is known by absence alone. Clients of one address
are taken for one: where any of them comes with a token, or for one, nothing is said.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from cachetools import TTLCache
from mitmproxy import http

from cause.client import RETURN_SECONDS, never_came_back
from cause.finding import Finding
from mitm.story import handshake
from mitm.story.kind import Kind, Login, Outcome
from mitm.story.record import Record

_LOGGED_IN = (Login.KEY, Login.TOKEN)
WAITING_MAX = 1000
"""Addresses from which somebody is waited for."""
AGAIN_SECONDS = 600
"""So long the same is not said again of handshakes from an address: some never end."""

type Peer = tuple[Any, ...]
"""Address and port."""


class Waiting:
    """Calls what is due when nobody came in time; belongs to one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timers: OrderedDict[Hashable, asyncio.TimerHandle] = OrderedDict()

    def begin(self, name: Hashable, missed: Callable[[], None]) -> None:
        """Wait for somebody of that name, if that is not done already."""
        if name in self._timers:
            return
        if len(self._timers) >= WAITING_MAX:
            self.end(next(iter(self._timers)))

        def miss() -> None:
            del self._timers[name]
            missed()

        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(self.seconds, miss)

    def end(self, name: Hashable) -> None:
        """Wait for nobody of that name any more."""
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def close(self) -> None:
        """Wait for nobody any more."""
        for name in list(self._timers):
            self.end(name)


class Returns:
    """Waits for clients that were challenged, or had no TLS."""

    def __init__(
        self,
        lost: Callable[[http.HTTPFlow, Record], None],
        seconds: float = RETURN_SECONDS,
    ) -> None:
        """Tell of each request, or handshake, whose client did not come in time."""
        self._lost = lost
        self._seconds = max(RETURN_SECONDS, seconds)
        self._challenged = Waiting(seconds)
        self._greeted = Waiting(seconds)
        self._said: TTLCache[tuple[object, Finding], None] = TTLCache(
            WAITING_MAX, AGAIN_SECONDS
        )

    def note(self, flow: http.HTTPFlow, record: Record) -> None:
        """Take note of a request that begins, or is over."""
        # Where a reverse proxy tells of the client, the handshakes are its own.
        self._greeted.end(flow.client_conn.peername[0])
        address = record.client[0] if record.client else ""
        if record.outcome is Outcome.CHALLENGED:
            self._challenged.end(address)  # It is the last challenge that counts.
            self._challenged.begin(address, lambda: self._miss_token(flow, record))
        elif record.kind is Kind.TOKEN or record.login in _LOGGED_IN:
            self._challenged.end(address)

    def note_handshake(self, failed: handshake.Handshake) -> None:
        """Take note of a handshake that came to nothing."""
        address = failed.client.peername[0]
        self._greeted.begin(address, lambda: self._miss_request(address, failed))

    def close(self) -> None:
        """Wait for nobody any more."""
        self._challenged.close()
        self._greeted.close()

    def _miss_token(self, flow: http.HTTPFlow, record: Record) -> None:
        found = record.fault is None and never_came_back(
            "" if record.wants_login else record.realm,
            self._seconds,
            user_agent=flow.request.headers.get("user-agent", ""),
            is_refused=record.login in _LOGGED_IN,
        )
        if found:
            record.blame(found)
            self._lost(flow, record)

    def _miss_request(self, address: object, failed: handshake.Handshake) -> None:
        found = failed.finding(self._seconds)
        if (address, found) in self._said:
            return
        self._said[address, found] = None
        flow, record = handshake.flow_of(failed.client)
        record.blame(found)
        self._lost(flow, record)
