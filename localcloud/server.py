"""HTTP servers: threads, kept connections, TLS, and a log of requests.

Python's own ``http.server`` carries it, as it hands over the request target
undecoded, which OData needs, and keeps connections open, which WSGI servers for
development do not.
"""

import contextlib
import logging
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from typing import Any, Self

LOG = logging.getLogger(__name__)

# Far more than a test sends, so that a long demo does not eat the memory.
_LOG_LENGTH = 10_000

type Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in: the target undecoded, the headers in order."""

    method: str
    target: str
    headers: tuple[Header, ...] = ()
    body: bytes = field(default=b"", repr=False)

    @property
    def path(self) -> str:
        """The target up to its query, still undecoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the first question mark, still undecoded."""
        return self.target.partition("?")[2]

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return _find(self.headers, name)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; a body of None is sent as an empty chunked one, as Node does."""

    status: int
    headers: tuple[Header, ...] = ()
    body: bytes | None = b""

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return _find(self.headers, name)


type Application = Callable[[Request], Response]


class RequestLog(deque[Request]):
    """The requests that a server received, for tests to count and inspect."""

    def __iter__(self) -> Iterator[Request]:
        """Go through the requests that there are now, as more may come meanwhile."""
        return iter(tuple(super().__iter__()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: "_Listener"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, self.path, tuple(self.headers.items()), body)
        self.server.log.append(request)
        response = self.server.answer(request)
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        has_body = response.status not in {204, 304}
        if has_body and response.body is None:
            self.send_header("Transfer-Encoding", "chunked")
        elif has_body and response.header("Content-Length") is None:
            self.send_header("Content-Length", str(len(response.body or b"")))
        self.end_headers()
        if has_body and self.command != "HEAD":
            self.wfile.write(b"0\r\n\r\n" if response.body is None else response.body)

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 - looked up by http.server

    # Requests are never logged: their queries carry API keys.
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Listener(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], answer: Application, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(address, _Handler)
        self.answer = answer
        self.tls = tls
        self.log = RequestLog(maxlen=_LOG_LENGTH)
        self._connections: set[socket] = set()
        self._lock = threading.Lock()

    def finish_request(self, request: Any, client_address: Any) -> None:
        connection = request
        if self.tls is not None:
            # The handshake belongs to the connection's thread: in the accepting
            # one, a client that says nothing would hold up all others.
            connection = self.tls.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
        with self._lock:
            self._connections.add(connection)
        try:
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            super().finish_request(connection, client_address)
        finally:
            with self._lock:
                self._connections.discard(connection)
            if connection is not request:
                connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request, client_address
        # A client that hangs up is no news.
        error = sys.exception()
        if not isinstance(error, OSError):
            LOG.error("a request could not be answered", exc_info=error)

    def end(self) -> None:
        """Stop accepting, close open connections and wait for their threads."""
        self.shutdown()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(SHUT_RDWR)
        self.server_close()


def _find(headers: Sequence[Header], name: str) -> str | None:
    return next((v for k, v in headers if k.lower() == name.lower()), None)


class Server:
    """One listening port and the application behind it."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public_host: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.application: Application = lambda _: Response(503)
        """May be set late: parts that name each other need their ports first."""
        self.interpose: Callable[[Request], Response | None] | None = None
        """Asked before the application: how a test makes a server fail."""
        self._listener = _Listener((host, port), self._answer, tls)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}
        )
        scheme = "http" if tls is None else "https"
        self.host = f"{public_host or host}:{self._listener.server_address[1]}"
        self.url = f"{scheme}://{self.host}"

    @property
    def requests(self) -> RequestLog:
        """What this server received."""
        return self._listener.log

    def _answer(self, request: Request) -> Response:
        response = self.interpose(request) if self.interpose else None
        return self.application(request) if response is None else response

    def __enter__(self) -> Self:
        """Start answering."""
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop answering and close all connections."""
        self._listener.end()
        self._thread.join()
