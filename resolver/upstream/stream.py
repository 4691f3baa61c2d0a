"""Decides how long a server may take to send an answer, piece by piece.

The connections of `resolver.upstream.transport`, for what its library leaves open.
"""

import io
from collections.abc import Callable
from http.client import HTTPResponse, RemoteDisconnected
from socket import socket
from typing import Any
from weakref import WeakSet

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from resolver.upstream.deadline import Deadline

type AddressOf = Callable[[str, int], str | None]
"""Says at which address a host is reached; None where any of its own will do."""


class _TimedStream(io.RawIOBase):
    """What comes from a socket within the socket's timeout, all of it together.

    A socket grants its timeout anew to every piece, so a server that sends a byte now
    and then would hold a thread for ever.
    """

    def __init__(self, stream: io.RawIOBase, connection: socket) -> None:
        self._stream = stream
        self._connection = connection
        timeout = connection.gettimeout()
        self._deadline = None if timeout is None else Deadline.after(timeout)

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what is there, or wait for it as long as there is time."""
        if self._deadline:
            remaining = self._deadline.remaining
            if not remaining:
                raise TimeoutError("the answer came too slowly")
            self._connection.settimeout(remaining)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        """Let go of the socket."""
        self._stream.close()
        super().close()


class _WholeLines(io.BufferedReader):
    """Takes no end in the place of a line, as Python does for the end of a head.

    A refusal of a key may then be the beginning of something else.
    """

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line.

        Raises:
            RemoteDisconnected: there is none.

        """
        line = super().readline(size)
        if not line:
            raise RemoteDisconnected("the answer broke off")
        return line


class _TimedResponse(HTTPResponse):
    """An answer whose status line and headers have to come whole, and in time."""

    def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        # The socket's timeout is what the whole request has left.
        self.fp = _WholeLines(_TimedStream(self.fp.detach(), sock))


def pools(
    sockets: WeakSet[socket], address_of: AddressOf | None = None
) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools of connections that keep the time, and note what they read from.

    Where it is said which address a host is reached at, it is reached there.
    """

    class Response(_TimedResponse):
        def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
            sockets.add(sock)
            super().__init__(sock, *args, **options)

    def connect(connection: HTTPConnection, usual: Callable[[], socket]) -> socket:
        name = connection._dns_host  # noqa: SLF001 - what is looked up, and nothing else
        address = address_of(name, connection.port or 0) if address_of else None
        connection._dns_host = address or name  # noqa: SLF001
        try:
            return usual()
        finally:
            connection._dns_host = name  # noqa: SLF001

    class HttpPool(HTTPConnectionPool):
        class ConnectionCls(HTTPConnection):
            response_class = Response

            def _new_conn(self) -> socket:
                return connect(self, super()._new_conn)

    class HttpsPool(HTTPSConnectionPool):
        class ConnectionCls(HTTPSConnection):
            response_class = Response

            def _new_conn(self) -> socket:
                return connect(self, super()._new_conn)

    return {"http": HttpPool, "https": HttpsPool}
