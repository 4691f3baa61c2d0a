"""What urllib3's connections do not do: answers that come whole, within the deadline.

Python's HTTP client leaves three things open that nothing public closes:

- A socket grants its timeout anew to every piece, so a server that sends a byte now and
  then would hold a thread for ever.
- A head that breaks off counts as a whole one: a 401 may then be the beginning of
  something else.
- Whoever waits for an answer cannot be told that the program ends, but by its socket.

The class that reads answers is replaced, through the attribute `response_class` of
`http.client.HTTPConnection`, in pools of urllib3's that requests is given. What relies
on it: `test_slow_answer_is_given_up`, `test_cut_answer_is_none` and
`test_close_ends_what_waits` in `tests/resolver/upstream/test_transport.py`.

The pools also connect before there is a request. urllib3 would give such a connection
up; `test_connection_is_there_before_it_is_needed` fails where one is.
"""

import io
import ssl
from http.client import HTTPResponse, RemoteDisconnected
from socket import socket
from typing import Any
from weakref import WeakSet

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from resolver.upstream.deadline import Deadline


class _TimedStream(io.RawIOBase):
    """What comes from a socket within the socket's timeout, all of it together."""

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

    def renew(self, seconds: float) -> None:
        """Give each piece that comes from now on so many seconds of its own."""
        self._deadline = None
        self._connection.settimeout(seconds)

    def close(self) -> None:
        """Let go of the socket."""
        self._stream.close()
        super().close()


class _WholeLines(io.BufferedReader):
    """Takes no end in the place of a line."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line.

        Raises:
            RemoteDisconnected: there is none.

        """
        line = super().readline(size)
        if not line:
            raise RemoteDisconnected("the answer broke off")
        return line


def _is_open(connection: ssl.SSLSocket) -> bool:
    """Return whether a connection that nothing is expected on is still open.

    In TLS 1.3 a server sends tickets after the handshake (RFC 8446 section 4.6.1).
    urllib3 takes a connection for closed where anything is unread, and so these.
    """
    timeout = connection.gettimeout()
    connection.settimeout(0)
    try:
        connection.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(timeout)
    return False  # It has ended, or says what nobody asked for.


class PreparedPool(HTTPConnectionPool):
    """Connections to one server, of which one can be there before it is needed."""

    def prepare(self, seconds: float) -> None:
        """Connect, unless a connection is kept.

        Raises:
            HTTPError: nobody takes a connection in that time.
            OSError: the server cannot be verified.

        """
        connection = self._get_conn()
        try:
            if connection.is_closed:
                connection.timeout = seconds
                connection.connect()
        except BaseException:
            connection.close()
            raise
        finally:
            self._put_conn(connection)


def pools(
    sockets: WeakSet[socket], piece_seconds: float | None = None
) -> dict[str, type[PreparedPool]]:
    """Return the pools by scheme; they add the sockets that they read from.

    Args:
        sockets: those that are read from.
        piece_seconds: for each piece of a body, which may then last; if none, the
            deadline is that of the whole answer.

    """

    class Response(HTTPResponse):
        def __init__(self, sock: socket, *args: Any, **options: Any) -> None:
            # TLS within the TLS of a proxy is urllib3's own, and has the socket in it.
            sockets.add(getattr(sock, "socket", sock))
            super().__init__(sock, *args, **options)
            # The socket's timeout is what the whole request has left.
            self._timed = _TimedStream(self.fp.detach(), sock)
            self.fp = _WholeLines(self._timed)

        def begin(self) -> None:
            super().begin()
            if piece_seconds is not None:
                self._timed.renew(piece_seconds)

    class HttpPool(PreparedPool):
        class ConnectionCls(HTTPConnection):
            response_class = Response

    class HttpsPool(PreparedPool, HTTPSConnectionPool):
        class ConnectionCls(HTTPSConnection):
            response_class = Response

            @property
            def is_connected(self) -> bool:
                """Whether it can carry another request."""
                if isinstance(self.sock, ssl.SSLSocket):
                    return _is_open(self.sock)
                return super().is_connected

    return {"http": HttpPool, "https": HttpsPool}
