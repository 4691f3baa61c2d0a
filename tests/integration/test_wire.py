"""What a registry sends that is no sound answer: ended, bounded, and said."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
import requests

from demo.proxy import Proxy
from tests.integration.blob import peak_megabytes
from tests.integration.fault import OPTIONS, in_time
from tests.integration.session import TIMEOUT, plain_session

MANIFEST = "/v2/org/app/manifests/latest"
BLOB = f"/v2/org/app/blobs/sha256:{'0' * 64}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHUNK = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
GROWTH_MEGABYTES_MAX = 60

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


def endless(head: bytes, piece: bytes) -> Send:
    """Return what sends a head, and then pieces until nobody takes them."""

    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return send


def get(proxy: Proxy, path: str) -> requests.Response:
    """Return the answer to a GET on a connection of its own."""
    with plain_session() as session:
        return session.get(f"http://{proxy.host}{path}", timeout=TIMEOUT)


@pytest.mark.parametrize(
    "interim",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
        b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ],
    ids=["100", "103", "101"],
)
def test_interim_answer_is_no_answer(interim: bytes) -> None:
    """The client is told to try later, and nothing but HTTP ever passes."""
    with (
        registry(lambda connection: connection.sendall(interim + OK)) as url,
        Proxy(url, arguments=OPTIONS) as proxy,
    ):
        for path in (MANIFEST, BLOB):
            answer = get(proxy, path)
            assert answer.status_code == 503
            assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
            assert interim.split()[1].decode() in answer.text
        assert "crashed" not in proxy.log


@pytest.mark.parametrize(
    ("path", "send"),
    [
        pytest.param(
            MANIFEST,
            endless(b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 1000 + b"\r\n"),
            id="head",
        ),
        pytest.param(
            MANIFEST,
            endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
            id="manifest",
        ),
        pytest.param(
            BLOB,
            endless(b"HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
            id="error",
        ),
    ],
)
def test_endless_answer_is_not_held(path: str, send: Send) -> None:
    """What the proxy would have to hold has an end, and the client gets 502."""
    with registry(send) as url, Proxy(url, arguments=OPTIONS) as proxy:
        assert get(proxy, "/ping").text == "pong"
        before = peak_megabytes(proxy.process.pid)
        answer = get(proxy, path)
        assert answer.status_code == 502
        assert peak_megabytes(proxy.process.pid) - before < GROWTH_MEGABYTES_MAX
        assert "too long to be held" in proxy.log


def test_trailers_do_not_leave_the_client_waiting() -> None:
    """What mitmproxy cannot read ends as a broken transfer, and soon."""
    trailers = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\n{}\r\n0\r\nX-Trailer: x\r\n\r\n"
    )
    with (
        registry(lambda connection: connection.sendall(trailers)) as url,
        Proxy(url, arguments=OPTIONS) as proxy,
    ):
        with pytest.raises(requests.RequestException):
            get(proxy, BLOB)
        assert get(proxy, MANIFEST).status_code == 502


@contextmanager
def deaf() -> Iterator[str]:
    """Listen without ever accepting, so that connections do not come about."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # What waits to be accepted takes all the room that there is.
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_connection_that_does_not_come_about() -> None:
    """A registry that takes no connection is given up like one that says nothing."""
    with deaf() as url, Proxy(url, arguments=OPTIONS) as proxy:
        with in_time():
            pulled = get(proxy, MANIFEST)
        with in_time():
            asked = get(proxy, "/auth/v1/token")
        assert (pulled.status_code, asked.status_code) == (502, 503)
        assert "it took too long" in proxy.log


def test_answer_without_a_length_is_no_answer() -> None:
    """Nobody could tell it from one that broke off, so it is not passed on (T9)."""

    def half(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\nhalf of it")

    with registry(half) as url, Proxy(url, arguments=OPTIONS) as proxy:
        for path in (MANIFEST, BLOB):
            answer = get(proxy, path)
            assert answer.status_code == 503
            assert "half of it" not in answer.text
            assert "how long its answer is" in answer.text
