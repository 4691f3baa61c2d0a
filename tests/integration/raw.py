"""Bytes on a connection to the proxy, for what no HTTP client sends or shows."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from demo.proxy import Proxy
from tests.integration.session import TIMEOUT

HOST = b"Host: proxy.example\r\n"
BYE = b"Connection: close\r\n\r\n"


@contextmanager
def connected(proxy: Proxy) -> Iterator[socket.socket]:
    """Yield a connection to the proxy, on which each piece is sent at once."""
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


@contextmanager
def encrypted(
    proxy: Proxy, context: ssl.SSLContext, name: str = "localhost"
) -> Iterator[ssl.SSLSocket]:
    """Yield a connection with TLS to the proxy, which is called by that name."""
    with (
        connected(proxy) as connection,
        context.wrap_socket(connection, server_hostname=name) as wrapped,
    ):
        yield wrapped


def receive(connection: socket.socket) -> bytes:
    """Return all that comes until the end.

    A reset is an end as well: who closes a connection before all of a request came
    sends one, and which of the two the client sees first is chance.
    """
    received = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            received += piece
    return bytes(received)


def send(proxy: Proxy, *pieces: bytes, ends: bool = False) -> bytes:
    """Return all that is answered to the pieces, on a connection of their own.

    Raises:
        TimeoutError: the connection does not end; with what the proxy logged.

    """
    with connected(proxy) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        try:
            return receive(connection)
        except TimeoutError as error:
            error.add_note(f"the proxy said:\n{proxy.log}")
            raise


def get(path: str, token: str) -> bytes:
    """Return the request of a client that logs in, after which nothing comes."""
    login = f"Authorization: Bearer {token}\r\n".encode()
    return f"GET {path} HTTP/1.1\r\n".encode() + login + HOST + BYE
