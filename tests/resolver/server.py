"""A client, and a real HTTP server on loopback that answers it as it is told to."""

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager

from localcloud.server import Request, Response, Server
from resolver.upstream.observer import NOBODY, Observer
from resolver.upstream.transport import Transport, Verification

HANG_UP = Response(0)
"""Close the connection, without an answer."""


@contextmanager
def connected(
    *responses: Response,
    tls: ssl.SSLContext | None = None,
    verification: Verification | None = None,
    observer: Observer = NOBODY,
) -> Iterator[tuple[Transport, Server, list[float]]]:
    """Yield a transport, a server with these answers, and the pauses between tries."""
    replies = iter(responses)
    pauses: list[float] = []

    def reply(_: Request) -> Response:
        response = next(replies)
        if response is HANG_UP:
            raise ConnectionAbortedError
        return response

    ours = Transport(
        verification or Verification(), sleep=pauses.append, observer=observer
    )
    with Server(tls=tls) as server, closing(ours):
        server.application = reply
        yield ours, server, pauses
