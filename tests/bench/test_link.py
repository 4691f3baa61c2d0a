"""A link delays and limits what passes, and counts it."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest

from bench.link import Line, Link, open_link
from registry_proxy.port import free_port

RATE, ROUND_TRIP = 1_000_000, 0.1
LATE_SECONDS = 2
"""How much longer than it should something may take on a busy machine."""
TIMEOUT = 10


class Letters(BaseRequestHandler):
    """Sends as many letters as each line of the client says, until it ends."""

    def handle(self) -> None:
        """Answer until the client has said all."""
        with self.request.makefile() as lines:
            for line in lines:
                self.request.sendall(b"x" * int(line))


@contextmanager
def linked() -> Iterator[tuple[Link, int]]:
    """Yield a link to a server that sends letters, and the server's own port."""

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Letters) as server:
        Thread(target=server.serve_forever, args=[0.02]).start()
        port = server.server_address[1]
        try:
            with open_link([port], rate=RATE, round_trip=ROUND_TRIP) as link:
                yield link, port
        finally:
            server.shutdown()


@pytest.fixture(scope="module")
def line() -> Iterator[tuple[Link, int]]:
    """Return a link, and the port that is far away."""
    with linked() as found:
        yield found


def connect(line: tuple[Link, int]) -> socket.socket:
    """Return a connection through the link."""
    link, port = line
    return socket.create_connection(("127.0.0.1", link.ports[port]), TIMEOUT)


def take(connection: socket.socket, length: int) -> float:
    """Return the seconds until so many letters were there, from asking for them on."""
    begin = time.monotonic()
    connection.sendall(f"{length}\n".encode())
    while length:
        letters = connection.recv(min(length, 1 << 16))
        assert set(letters) == {ord("x")}
        length -= len(letters)
    return time.monotonic() - begin


def test_all_share_the_rate_of_a_line() -> None:
    """What is sent leaves behind what was sent before, and at once otherwise."""
    now = 0.0
    line = Line(1000, lambda: now)
    assert [line.send(500), line.send(1500)] == [0.5, 2]
    assert line.queue_seconds == 2
    now = 5
    assert (line.queue_seconds, line.send(1000)) == (0, 6)


def test_a_new_connection_takes_another_round_trip(line: tuple[Link, int]) -> None:
    """Its handshake takes one, and each answer takes one."""
    begin = time.monotonic()
    with connect(line) as connection:
        take(connection, 1)
        first = time.monotonic() - begin
        second = take(connection, 1)
    assert 2 * ROUND_TRIP <= first < 2 * ROUND_TRIP + LATE_SECONDS
    assert ROUND_TRIP <= second < ROUND_TRIP + LATE_SECONDS


def test_connections_share_the_rate(line: tuple[Link, int]) -> None:
    """Two who take as much at once take twice as long."""
    length = RATE // 4
    with (
        connect(line) as one,
        connect(line) as other,
        ThreadPoolExecutor() as threads,
    ):
        take(one, 1), take(other, 1)
        alone = take(one, length)
        begin = time.monotonic()
        list(threads.map(take, (one, other), (length, length)))
        both = time.monotonic() - begin
    assert ROUND_TRIP + 0.25 <= alone < ROUND_TRIP + 0.25 + LATE_SECONDS
    assert ROUND_TRIP + 0.5 <= both < ROUND_TRIP + 0.5 + LATE_SECONDS


def test_what_passed_is_counted(line: tuple[Link, int]) -> None:
    """Connections and bytes, for each port and each direction."""
    link, port = line
    before = link.tally()[port]
    with connect(line) as connection:
        take(connection, 12_345)
        passed = link.tally()[port].since(before)
    assert (passed.connections, passed.sent, passed.received) == (1, 6, 12_345)


def test_the_end_passes_behind_the_rest(line: tuple[Link, int]) -> None:
    """A client that has said all still gets the rest of its answer."""
    with connect(line) as connection:
        connection.sendall(b"3\n")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            assert answer.read() == b"xxx"


def test_connections_are_closed_from_afar(line: tuple[Link, int]) -> None:
    """As servers do with idle ones; the next one is served."""
    link, _ = line
    with connect(line) as connection:
        take(connection, 1)
        link.close_connections()
        assert not connection.recv(1)
    with connect(line) as connection:
        take(connection, 1)


def test_nobody_listens_there() -> None:
    """A connection to nobody ends."""
    port = free_port()
    with open_link([port]) as link, connect((link, port)) as connection:
        assert not connection.recv(1)
