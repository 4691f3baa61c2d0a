"""A connection that the registry closed under a request costs the client nothing."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from demo.proxy import Proxy
from tests.authority import Authority
from tests.integration.fault import OPTIONS
from tests.integration.session import TIMEOUT, plain_session

PATH = f"/v2/v2/{'a' * 32}/manifests/latest"
TOKEN = "Bearer head.payload.signature"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
OK = HEAD + b"{}"

type Connection = socket.socket | ssl.SSLSocket
type End = Callable[[Connection], object]


def close(connection: Connection) -> None:
    """Close it as if nothing had been asked."""
    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: Connection) -> None:
    """Close it with a reset, as of a server that is gone."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def break_off(connection: Connection) -> None:
    """Begin an answer."""
    connection.sendall(OK[:9])


def say_nothing(connection: Connection) -> None:
    """Let the other end wait until it goes."""
    connection.recv(1)


class Registry:
    """Answers so many requests of each connection, and ends it under the next one."""

    def __init__(self, end: End, *answers: int) -> None:
        """Let the last number of answers count for all further connections."""
        self._end = end
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.requests: list[bytes] = []
        """Those of clients; the proxy itself asks for /v2/ when it starts."""
        self.answered = 0

    def accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve until the listener is closed."""
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(
                    target=self._serve, args=(connection, tls), daemon=True
                ).start()

    def _serve(self, plain: socket.socket, tls: ssl.SSLContext | None) -> None:
        with (
            suppress(OSError),
            plain,
            tls.wrap_socket(plain, server_side=True) if tls else plain as connection,
        ):
            request = connection.recv(65536)
            while request.startswith(b"GET /v2/ HTTP/"):
                connection.sendall(OK)
                request = connection.recv(65536)
            for _ in range(self._next_count()):
                if not request:
                    return
                self.requests.append(request)
                connection.sendall(HEAD if request.startswith(b"HEAD") else OK)
                self.answered += 1
                request = connection.recv(65536)
            if request:
                self.requests.append(request)
                self._end(connection)

    def _next_count(self) -> int:
        """Return how many answers the next connection gives."""
        with self._lock:
            answers = self._answers
            return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def served(registry: Registry, folder: Path | None = None) -> Iterator[Proxy]:
    """Run the registry, with TLS where there is a folder, and a proxy before it."""
    options: Sequence[str] = OPTIONS
    scheme, tls = "http", None
    if folder:
        authority = Authority("private")
        tls, scheme = authority.server_context(folder), "https"
        file = authority.write_file(folder / "ca.pem")
        options = (*OPTIONS, "--set", f"ssl_verify_upstream_trusted_ca={file}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (listener, tls)
        threading.Thread(target=registry.accept, args=arguments, daemon=True).start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with Proxy(url, arguments=options) as proxy:
                yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def statuses(proxy: Proxy, *methods: str) -> list[int]:
    """Return how requests on one connection of a client end."""
    with plain_session() as session:
        session.headers["Authorization"] = TOKEN
        url = f"http://{proxy.host}{PATH}"
        return [
            session.request(method, url, timeout=TIMEOUT).status_code
            for method in methods
        ]


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("has_tls", [False, True], ids=["plain", "tls"])
def test_closed_connection_costs_no_request(
    tmp_path: Path, end: End, *, has_tls: bool
) -> None:
    """Of many requests on kept connections none fails, and all have the login."""
    kept = 10 if has_tls else 1  # A handshake takes its time.
    registry = Registry(end, 1, 2, 1, 3, kept)
    with served(registry, tmp_path if has_tls else None) as proxy:
        assert set(statuses(proxy, *["GET"] * 1000)) == {200}
        assert "asked again on a new one" in proxy.log
        assert TOKEN not in proxy.log
    assert registry.answered == 1000
    assert len(registry.requests) > 1000 + 900 // kept
    login = f"Authorization: {TOKEN}\r\n".encode()
    assert {request.count(login) for request in registry.requests} == {1}


@pytest.mark.parametrize(
    ("end", "answers", "asked"),
    [
        # A second connection that breaks is no chance any more.
        (close, (1, 0), 3),
        # A new one was opened to be asked.
        (close, (0, 1), 1),
        (break_off, (1, 1), 2),
        # The time of the client is not waited for twice.
        (say_nothing, (1, 1), 2),
    ],
    ids=["twice", "new", "broken off", "silent"],
)
def test_request_that_is_not_asked_again(
    end: End, answers: tuple[int, ...], asked: int
) -> None:
    """Where another try would be in vain, or too late, the client gets its 502."""
    registry = Registry(end, *answers)
    with served(registry) as proxy:
        assert statuses(proxy, *["GET"] * (answers[0] + 1))[-1] == 502
    assert len(registry.requests) == asked


def test_head_is_asked_again() -> None:
    """Clients ask with HEAD first."""
    registry = Registry(close, 1)
    with served(registry) as proxy:
        assert statuses(proxy, "HEAD", "HEAD") == [200, 200]
    assert (registry.answered, len(registry.requests)) == (2, 3)
