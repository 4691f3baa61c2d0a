"""Who watches requests while they run."""

from typing import Protocol

from mitmproxy import http

from mitm.story.record import Record


class Audience(Protocol):
    """Is told of a request that begins, of which more is known, or that is over."""

    def note(self, flow: http.HTTPFlow, record: Record) -> None:
        """Take note of the request of a client, or of the proxy itself."""
