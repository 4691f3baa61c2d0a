"""Clients that were to come back, and whether they do.

A request that does not reach the proxy cannot be seen, so that a client cannot reach
the realm, or goes away without TLS, is known by absence alone. Clients of a household,
which is one address or one network of IPv6, are taken for one: where any of them comes
with a token, or for one, nothing is said.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Any

from cachetools import TTLCache
from mitmproxy import http

from cause.client import RETURN_SECONDS, never_came_back
from cause.finding import Finding
from mitm.story import handshake
from mitm.story.kind import Kind, Login, Outcome
from mitm.story.record import Record
from resolver.upstream.share import household

_LOGGED_IN = (Login.KEY, Login.TOKEN)
WAITING_MAX = 1000
"""Households of which somebody is waited for; where there are as many, no other."""
AGAIN_SECONDS = 600
"""So long the same is not said again of handshakes of a household: some never end."""
SAID_MAX = 20
SAID_SECONDS = 60
"""So much is said of handshakes in that time, and no more: anybody can fail in them."""

type Peer = tuple[Any, ...]
"""Address and port."""


class Waiting:
    """Calls what is due when nobody came in time; belongs to one event loop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    def begin(self, name: Hashable, missed: Callable[[], None]) -> None:
        """Wait for somebody of that name, if there is room and it is not done already.

        Whoever is waited for stays, so that nobody hides others by coming often.
        """
        if name in self._timers or len(self._timers) >= WAITING_MAX:
            return

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell of each request, or handshake, whose client did not come in time."""
        self._lost = lost
        self._seconds = max(RETURN_SECONDS, seconds)
        self._challenged = Waiting(seconds)
        self._greeted = Waiting(seconds)
        self._said: TTLCache[tuple[object, Finding], None] = TTLCache(
            WAITING_MAX, AGAIN_SECONDS
        )
        self._clock = clock
        self._said_since = float("-inf")
        self._said_count = 0

    def note(self, flow: http.HTTPFlow, record: Record) -> None:
        """Take note of a request that begins, or is over."""
        # Where a reverse proxy tells of the client, the handshakes are its own.
        self._greeted.end(household(flow.client_conn.peername[0]))
        who = household(str(record.client[0])) if record.client else ""
        if record.outcome is Outcome.CHALLENGED:
            self._challenged.end(who)  # It is the last challenge that counts.
            # Behind a reverse proxy, the client may come to another replica.
            if record.connection:
                self._challenged.begin(who, lambda: self._miss_token(flow, record))
        elif record.kind is Kind.TOKEN or record.login in _LOGGED_IN:
            self._challenged.end(who)

    def note_handshake(self, failed: handshake.Handshake) -> None:
        """Take note of a handshake that came to nothing."""
        who = household(failed.client.peername[0])
        self._greeted.begin(who, lambda: self._miss_request(who, failed))
        if failed.blames_certificate:
            # It came for a token, and this is why it got none.
            self._challenged.end(who)

    def close(self) -> None:
        """Wait for nobody any more."""
        self._challenged.close()
        self._greeted.close()

    def _miss_token(self, flow: http.HTTPFlow, record: Record) -> None:
        if record.wants_login and not record.has_own_names:
            return  # No login serves where names are balena's.
        found = record.fault is None and never_came_back(
            "" if record.wants_login else record.realm,
            self._seconds,
            user_agent=flow.request.headers.get("user-agent", ""),
            is_refused=record.login is Login.TOKEN,
        )
        if found:
            record.blame(found)
            self._lost(flow, record)

    def _miss_request(self, who: str, failed: handshake.Handshake) -> None:
        found = failed.finding(self._seconds)
        if (who, found) in self._said or not self._may_say():
            return
        self._said[who, found] = None
        flow, record = handshake.flow_of(failed.client)
        record.blame(found)
        self._lost(flow, record)

    def _may_say(self) -> bool:
        """Return whether there is one more thing to be said of handshakes for now."""
        now = self._clock()
        if now - self._said_since >= SAID_SECONDS:
            self._said_since, self._said_count = now, 0
        self._said_count += 1
        return self._said_count <= SAID_MAX
