"""A relay between two parts, which fails as it is told: a cable to be cut.

Bytes pass untouched until a fault is set. It holds for connections that are open as
well as for new ones, and ends with `mend`.
"""

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

BACKLOG = 512
CHUNK = 1 << 16
PACE_SECONDS = 0.05
"""Between two bytes of an answer that trickles."""


class Failure(Enum):
    """What happens to a connection."""

    HANG = auto()
    """It is accepted, and nothing passes."""
    RESET = auto()
    """It is reset as soon as something is asked."""
    CUT = auto()
    """It is closed in the middle of an answer, as if the answer were over."""
    STALL = auto()
    """It stays open in the middle of an answer, and no more comes until it mends."""
    TRICKLE = auto()
    """The answer comes byte by byte, or in pieces of another length."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure, and where in an answer it begins: so far behind a mark."""

    failure: Failure
    mark: bytes = b""
    length: int = 0
    is_once: bool = False
    """Whether it ends by itself as soon as it struck."""
    piece: int = 1
    """Bytes that come at once where an answer trickles, twenty times in a second."""


class _Answer:
    """The part of an answer that passes before a fault begins."""

    def __init__(self) -> None:
        self._fault: Fault | None = None
        self._tail = b""
        self._left: int | None = None

    def passing(self, fault: Fault, chunk: bytes) -> int:
        """Return how many bytes of the chunk pass: all before the fault begins."""
        if fault is not self._fault:
            self._fault, self._tail = fault, b""
            self._left = None if fault.mark else fault.length
        if self._left is None:
            text = self._tail + chunk
            position = text.find(fault.mark)
            if position < 0:
                self._tail = text[1 - len(fault.mark) :]
                return len(chunk)
            before = position + len(fault.mark) - len(self._tail)
            self._left = before + fault.length
        count = min(self._left, len(chunk))
        self._left -= count
        return count


class Relay:
    """A port of loopback that is open while it is entered as a context."""

    def __init__(self, target: int) -> None:
        """Pass to the port of loopback that is the target."""
        self._target = target
        self._fault: Fault | None = None
        self._mended = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.accepted = 0
        """How many connections there have been."""

    def __enter__(self) -> Self:
        """Begin to pass."""
        self.restore()
        return self

    def __exit__(self, *exception: object) -> None:
        """Close everything."""
        self.refuse()

    def fail(self, fault: Fault) -> None:
        """Let the fault begin."""
        self._mended.clear()
        self._fault = fault

    def mend(self) -> None:
        """Let everything pass again; connections that hung are closed."""
        self._fault = None
        self._mended.set()
        if self._listener is None:
            self.restore()

    def refuse(self) -> None:
        """Close the port and every connection, so that new ones are refused."""
        self._fault = None
        self._mended.set()
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # Ends an accept that waits.
            listener.close()
        self.drop()

    def restore(self) -> None:
        """Open the port: any free one at first, and the same later on."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=[listener], daemon=True).start()

    def drop(self) -> None:
        """Close the connections that are open now."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        asking = threading.Thread(target=self._ask, args=[client, server], daemon=True)
        asking.start()
        with contextlib.suppress(OSError):
            self._answer(client, server)
        for end in (client, server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        asking.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """Pass what the client sends, and its end."""
        with contextlib.suppress(OSError):
            while chunk := client.recv(CHUNK):
                fault = self._fault
                if fault and fault.failure is Failure.RESET:
                    # A close with this option sends a reset.
                    linger = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    client.close()
                    break
                if fault and fault.failure is Failure.HANG:
                    self._mended.wait()
                    break
                server.sendall(chunk)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        """Pass what the server sends, as far as a fault lets it."""
        answer = _Answer()
        while chunk := server.recv(CHUNK):
            fault = self._fault
            if fault is None:
                client.sendall(chunk)
                continue
            passing = answer.passing(fault, chunk)
            client.sendall(chunk[:passing])
            rest = chunk[passing:]
            if not rest:
                continue
            if fault.is_once:
                self._fault = None
            if fault.failure is Failure.TRICKLE:
                for begin in range(0, len(rest), fault.piece):
                    client.sendall(rest[begin : begin + fault.piece])
                    if self._mended.wait(PACE_SECONDS):
                        return
                continue
            if fault.failure is Failure.CUT:
                return
            self._mended.wait()
            client.sendall(rest)
