"""A real HTTP server on loopback, which answers what it is told to."""

import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from types import TracebackType
from typing import Self

from resolver.upstream.observer import NOBODY, Observer
from resolver.upstream.transport import Transport, Verification


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers to one request."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = False

    @property
    def pieces(self) -> Iterable[bytes]:
        """The body as it is sent."""
        return [self.body] if isinstance(self.body, bytes) else self.body


HANG_UP = Reply(0)
"""Close the connection, without an answer."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came over the wire; names of headers in lower case."""

    target: str
    headers: dict[str, str]
    method: str = "GET"


class Server:
    """Serves replies in their order, and notes the requests."""

    def __init__(
        self, replies: Sequence[Reply], context: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Received] = []
        self.ended = threading.Event()
        self._replies = iter(replies)
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        if context:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True
            )
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start it."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, and whatever still sends a body."""
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        requests, replies = self.requests, self._replies

        class Handler(BaseHTTPRequestHandler):
            """Answers one connection."""

            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                """Send the next reply."""
                headers = {name.lower(): value for name, value in self.headers.items()}
                requests.append(Received(self.path, headers, self.command))
                reply = next(replies)
                self.close_connection = True
                if reply is HANG_UP:
                    return
                self.send_response(reply.status)
                for name, value in {**_framing(reply), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(_chunk(piece) if reply.chunked else piece)
                    self.wfile.flush()
                if reply.chunked:
                    self.wfile.write(_chunk(b""))

            do_HEAD = do_GET  # noqa: N815 - the library's own way to name it

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Keep quiet."""

        return Handler


class _QuietServer(ThreadingHTTPServer):
    """Says nothing about clients that break off, and waits for no one's thread."""

    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet."""


@contextmanager
def connected(
    server: Server,
    verification: Verification | None = None,
    observer: Observer = NOBODY,
) -> Iterator[tuple[Transport, list[float]]]:
    """Yield a transport, and the pauses that it would make; the server runs."""
    pauses: list[float] = []
    ours = Transport(
        verification or Verification(), sleep=pauses.append, observer=observer
    )
    with server, closing(ours):
        yield ours, pauses


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _framing(reply: Reply) -> dict[str, str]:
    # Told to close, a client does not race for a connection that is going away.
    framing = {"Connection": "close"}
    if reply.chunked:
        return framing | {"Transfer-Encoding": "chunked"}
    length = len(reply.body) if isinstance(reply.body, bytes) else 1 << 20
    return framing | {"Content-Length": str(length)}


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)
