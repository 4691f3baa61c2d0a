"""A connection to the proxy that costs its client as little as possible.

It knows as much of HTTP as the answers of a registry need: a head, and a body whose
length the head says. A client that knew more would keep the second core busy.
"""

import re
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 30
HEAD_END = b"\r\n\r\n"
CHUNK = 1 << 18
KEPT_MAX = 1 << 16
"""Longer bodies are read and dropped."""
_STATUS = slice(9, 12)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class BadAnswer(Exception):
    """What came is not what was asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came."""

    status: int
    content: bytes
    """The body, where it is short."""
    length: int
    """Of the body."""


def trusting_context() -> ssl.SSLContext:
    """Return what a client speaks TLS with that believes any certificate.

    Verifying one would be work of the client, and none of the proxy.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Wire:
    """Is open while it is entered as a context."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        """Connect, and shake hands."""
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket = (
                tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
            )
        except BaseException:
            plain.close()
            raise
        self._buffer = bytearray(CHUNK)

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def ask(self, request: bytes) -> Answer:
        """Send a request, and return the answer.

        Raises:
            BadAnswer: it cannot be read.
            OSError: the connection broke, or nothing came for long.

        """
        self._socket.sendall(request)
        received = b""
        while HEAD_END not in received:
            received += self._receive()
        head, _, content = received.partition(HEAD_END)
        status = int(head[_STATUS])
        if request.startswith(b"HEAD "):
            return Answer(status, b"", 0)
        length = _LENGTH.search(head + b"\r\n")
        if length is None:
            raise BadAnswer(f"an answer of unknown length, with status {status}")
        return self._body(status, content, int(length[1]))

    def _body(self, status: int, content: bytes, length: int) -> Answer:
        """Return the answer once its body is there, of which this is the beginning."""
        if length <= KEPT_MAX:
            while len(content) < length:
                content += self._receive()
            return Answer(status, content, length)
        left = length - len(content)
        while left:
            size = self._socket.recv_into(self._buffer, min(left, CHUNK))
            if not size:
                raise BadAnswer("an answer ended before its end")
            left -= size
        return Answer(status, b"", length)

    def _receive(self) -> bytes:
        data = self._socket.recv(KEPT_MAX)
        if not data:
            raise BadAnswer("an answer ended before its end")
        return data
