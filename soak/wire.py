"""A connection to the proxy, byte by byte: for what no HTTP client would do."""

import socket
import struct
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import Self

from soak.outcome import CLOSED, PATIENCE_SECONDS, SILENT
from soak.reply import error_code


class BrokenOff(Exception):
    """An answer ended before its end."""


class Wire:
    """Is open while it is entered as a context."""

    def __init__(self, port: int, *, buffer: int = 0) -> None:
        """Connect; a small buffer lets the other end notice that nobody reads."""
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_SECONDS)
        if buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        try:
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        self._answer: HTTPResponse | None = None

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
        if self._answer:
            self._answer.close()
        self._socket.close()

    def send(self, content: bytes) -> None:
        """Send it all."""
        self._socket.sendall(content)

    def reset(self) -> None:
        """Let the close be a reset, as where a client's machine is switched off."""
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    def head(self) -> str:
        """Return the status that comes next, with its code; or what came instead."""
        self._answer = HTTPResponse(self._socket)
        try:
            self._answer.begin()
            status = self._answer.status
            if status < HTTPStatus.BAD_REQUEST:
                return str(status)
            return f"{status} {error_code(self._answer.read())}"
        except TimeoutError:
            return SILENT
        except (OSError, HTTPException):
            return CLOSED

    def read(self, length: int) -> bytes:
        """Return so much of the body, or the rest of it; nothing at its end.

        Raises:
            BrokenOff: it ended too early.
            TimeoutError: nothing came for long.

        """
        answer = self._answer
        if answer is None:
            return b""
        try:
            content = answer.read(length)
        except TimeoutError:
            raise
        except (OSError, HTTPException) as error:
            raise BrokenOff from error
        if len(content) < length and answer.length:
            raise BrokenOff
        return content
