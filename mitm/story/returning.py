"""Clients that were sent for a token, and whether they come for one.

A request that does not reach the proxy cannot be seen, so that a client cannot reach
the realm is known by absence alone. Clients of one address are taken for one: where any
of them comes with a token, or for one, nothing is said.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import http

from cause.client import RETURN_SECONDS, never_came_back
from mitm.story.record import Kind, Login, Outcome, Record

_LOGGED_IN = (Login.KEY, Login.TOKEN)
WAITING_MAX = 1000
"""Addresses from which somebody is waited for."""


@dataclass(frozen=True, slots=True)
class _Absence:
    """A client that was sent for a token, and did not come so far."""

    flow: http.HTTPFlow
    record: Record
    timer: asyncio.TimerHandle


class Returns:
    """Waits for clients that were challenged; belongs to one event loop."""

    def __init__(
        self,
        lost: Callable[[http.HTTPFlow, Record], None],
        seconds: float = RETURN_SECONDS,
    ) -> None:
        """Tell of each request whose client did not come for a token in time."""
        self._lost = lost
        self._seconds = seconds
        self._absent: OrderedDict[object, _Absence] = OrderedDict()

    def note(self, flow: http.HTTPFlow, record: Record) -> None:
        """Take note of a request that begins, or is over."""
        address = record.client[0] if record.client else ""
        if record.outcome is Outcome.CHALLENGED:
            self._forget(address)
            if len(self._absent) >= WAITING_MAX:
                self._forget(next(iter(self._absent)))
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._seconds, self._miss, address)
            self._absent[address] = _Absence(flow, record, timer)
        elif record.kind is Kind.TOKEN or record.login in _LOGGED_IN:
            self._forget(address)

    def close(self) -> None:
        """Wait for nobody any more."""
        for address in list(self._absent):
            self._forget(address)

    def _forget(self, address: object) -> None:
        if absence := self._absent.pop(address, None):
            absence.timer.cancel()

    def _miss(self, address: object) -> None:
        absence = self._absent.pop(address)
        flow, record = absence.flow, absence.record
        found = record.fault is None and never_came_back(
            "" if record.wants_login else record.realm,
            max(RETURN_SECONDS, self._seconds),
            user_agent=flow.request.headers.get("user-agent", ""),
            is_refused=record.login in _LOGGED_IN,
        )
        if found:
            record.blame(found)
            self._lost(flow, record)
