"""A registry that says what a test tells it to, byte by byte, and whoever asks it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import requests

from demo.proxy import Proxy
from tests.integration.fault import MANIFEST, in_time
from tests.integration.session import TIMEOUT, plain_session

MANIFEST_PATH = "/v2/org/app/manifests/latest"
BLOB = f"/v2/org/app/blobs/sha256:{'0' * 64}"
STORED_BLOB = BLOB.replace("org/app", f"v2/{'0' * 32}")
TOKEN = "head.payload.signature"
"""Opens nothing, which such a registry does not look at."""
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

type Send = Callable[[socket.socket], object]


@contextmanager
def registry(send: Send) -> Iterator[str]:
    """Run a registry that answers every request so; yield its URL."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.recv(65536):
                send(connection)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(
                    target=serve, args=[listener.accept()[0]], daemon=True
                ).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=[listener], daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


class Script:
    """What such a registry sends next."""

    def __init__(self) -> None:
        self.answer = b""
        self.closes = False
        """Whether that is all, and the connection ends."""

    def send(self, connection: socket.socket) -> None:
        """Send it."""
        connection.sendall(self.answer)
        if self.closes:
            connection.shutdown(socket.SHUT_RDWR)


def ask(url: str, token: str | None = None, method: str = "GET") -> requests.Response:
    """Return the answer to a request on a connection of its own."""
    with in_time(), plain_session() as session:
        session.headers["Accept"] = MANIFEST
        if token is not None:
            session.headers["Authorization"] = f"Bearer {token}"
        return session.request(method, url, timeout=TIMEOUT, allow_redirects=False)


def get(proxy: Proxy, path: str) -> requests.Response:
    """Return the answer to a request without a token."""
    return ask(f"http://{proxy.host}{path}")
