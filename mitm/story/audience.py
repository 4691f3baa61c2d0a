"""Who watches requests while they run."""

import logging
from typing import Protocol

from mitmproxy import http

from mitm.story.record import Record

logger = logging.getLogger("balena")


class Audience(Protocol):
    """Is told of a request that begins, of which more is known, or that is over."""

    def note(self, flow: http.HTTPFlow, record: Record) -> None:
        """Take note of the request of a client, or of the proxy itself."""


def tell(audience: Audience | None, flow: http.HTTPFlow, record: Record) -> None:
    """Tell the audience, if there is one, whose bugs are no client's."""
    if audience:
        try:
            audience.note(flow, record)
        except Exception:
            logger.exception("a bug of this proxy: the page of pulls misses a request")
