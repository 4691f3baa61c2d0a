"""The server that gives out blobs of the cache, to this process alone.

mitmproxy answers from memory, or passes on what a server sends; so a blob that lies in
a file has a server, on a free port of loopback. The system moves the bytes from the
file to the connection, and none of them is an object of Python's. Each transfer has a
thread of its own: a slow disk slows that transfer alone.

Who asks needs a ticket, which is good for one answer; whether somebody may have the
blob was decided before there was one.
"""

import asyncio
import errno
import logging
import os
import secrets
import socket
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet, ref

from resolver.blob.fetch import Broken
from resolver.blob.request import Window
from resolver.storage.url import Url
from resolver.upstream.deadline import Deadline
from resolver.upstream.threads import start_thread

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
TICKET_SECONDS = 60
"""How long a ticket holds; it is used at once."""
IDLE_SECONDS = 5
"""How long a connection is kept for another request, until all of it is there."""
STRANGERS_MAX = 64
"""As many connections, and one for each ticket, may have brought none yet; those of
this process do so at once, and beyond that the oldest is closed."""
HEAD_LENGTH_MAX = 64 << 10
PAUSE_SECONDS = 0.05
"""Between two looks whether there is room for another connection."""
BACKLOG = 512
PIECE_LENGTH = 8 << 20
"""Bytes that the system moves at once."""

_PASSING = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM),
    *(errno.ECONNABORTED, errno.EINTR),
)
"""Why a connection cannot be accepted for now: no room, or it is gone again."""


class Body(Protocol):
    """A blob, or what has come of one."""

    @property
    def fd(self) -> int:
        """The file that it is in."""

    def wait(self, position: int, /) -> int:
        """Return how many bytes can be read, which is more than the position."""

    def leave(self) -> None:
        """Take note that somebody reads it no longer."""


@dataclass(slots=True)
class _Ticket:
    window: Window
    body: Body


class BlobServer:
    """The server. Tickets are issued by the event loop."""

    def __init__(self) -> None:
        """Listen, and answer nobody as long as there is no ticket.

        Raises:
            OSError: loopback has no free port.

        """
        self._tickets: dict[str, _Ticket] = {}
        self._connections: WeakSet[socket.socket] = WeakSet()
        self._strangers: WeakKeyDictionary[socket.socket, None] = WeakKeyDictionary()
        self._lock = Lock()
        listener = socket.create_server((HOST, 0), backlog=BACKLOG)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._listener = listener
        self._end = weakref.finalize(self, _end, listener)
        self._is_started = False

    def issue(self, window: Window, body: Body) -> Url:
        """Return the URL at which the answer can be had once."""
        if not self._is_started:
            start_thread("blob-server", partial(_accept, self._listener, ref(self)))
            self._is_started = True
        name = secrets.token_urlsafe(16)
        self._tickets[name] = _Ticket(window, body)
        loop = asyncio.get_running_loop()
        loop.call_later(TICKET_SECONDS, _withdraw, self._tickets, name)
        return Url("http", *self.address, f"/{window.digest}?ticket={name}")

    def close(self) -> None:
        """Let nobody connect any more, and end every transfer."""
        self._end()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def welcome(self, connection: socket.socket) -> None:
        """Let a thread answer what comes by a connection."""
        with self._lock:
            self._strangers[connection] = None
            if len(self._strangers) > STRANGERS_MAX + len(self._tickets):
                oldest = next(iter(self._strangers))
                del self._strangers[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
        try:
            start_thread("blob-transfer", partial(self._serve, connection))
        except RuntimeError:  # The system has none left.
            connection.close()

    def _serve(self, connection: socket.socket) -> None:
        """Answer the requests of a connection, one after the other."""
        with self._lock:
            self._connections.add(connection)
        if not self._end.alive:  # It was accepted just before that.
            connection.close()
            return
        with connection, suppress(OSError, Broken):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head = _read_head(connection)
                connection.settimeout(None)
                ticket = self._tickets.pop(_ticket_name(head), None)
                if ticket is None:
                    return
                with self._lock:
                    self._strangers.pop(connection, None)
                try:
                    _send(connection, ticket.window, ticket.body)
                finally:
                    ticket.body.leave()
                    del ticket  # And with it the file, before another request comes.


def _withdraw(tickets: dict[str, _Ticket], name: str) -> None:
    """Let a ticket be good no longer, if it was not used."""
    if ticket := tickets.pop(name, None):
        ticket.body.leave()


def _accept(listener: socket.socket, server: "ref[BlobServer]") -> None:
    """Accept connections as long as there is a server."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                return  # It was closed.
            time.sleep(PAUSE_SECONDS)
            continue
        if found := server():
            found.welcome(connection)
        else:
            connection.close()
        del found


def _end(listener: socket.socket) -> None:
    """Let nobody connect any more; who waits in `_accept` does so no longer."""
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _read_head(connection: socket.socket) -> bytes:
    """Return a request, which has no body.

    Raises:
        OSError: there is none.

    """
    head, deadline = b"", Deadline.after(IDLE_SECONDS)
    while not head.endswith(b"\r\n\r\n"):
        if not (remaining := deadline.remaining):
            raise TimeoutError
        connection.settimeout(remaining)
        piece = connection.recv(HEAD_LENGTH_MAX)
        head += piece
        if not piece or len(head) > HEAD_LENGTH_MAX:
            raise ConnectionAbortedError
    return head


def _ticket_name(head: bytes) -> str:
    """Return the ticket that stands in the request line."""
    target = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
    return b"".join(target).partition(b"?ticket=")[2].decode("latin-1")


def _send(connection: socket.socket, window: Window, body: Body) -> None:
    """Send the answer; the system moves the bytes of the blob.

    Raises:
        Broken: no more of the blob comes.
        OSError: the connection is over, or the file cannot be read.

    """
    position, end = window.begin, window.end
    if not window.has_body:
        end = position
    elif position < end:
        body.wait(position)  # The head goes out with the first bytes.
    elif not window.size:
        body.wait(-1)  # It is all of the answer, so it waits for the check.
    connection.sendall(window.head)
    while position < end:
        length = min(body.wait(position), end) - position
        sent = os.sendfile(
            connection.fileno(), body.fd, position, min(length, PIECE_LENGTH)
        )
        if not sent:
            raise Broken
        position += sent
