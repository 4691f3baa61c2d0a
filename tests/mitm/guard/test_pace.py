"""Who takes too little of what it is sent, and who is not to blame."""

import asyncio
import socket

import pytest

from mitm.guard.pace import BYTES_PER_SECOND, WINDOW_SECONDS, Pace
from tests.mitm.guard.transport import Transport

ENOUGH = BYTES_PER_SECOND * WINDOW_SECONDS


class Client:
    """A client, and a clock that runs when it does something."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.pace = Pace(self.transport)
        self._now = 0.0

    def take(self, count: int, more: int = 100_000) -> bool:
        """Take so much, with more to come, and return whether that is too little."""
        self.pace.sent += count + more - self.transport.unsent
        self.transport.unsent = more
        return self._look()

    def _look(self) -> bool:
        self._now += WINDOW_SECONDS / 6
        return self.pace.is_too_slow(self._now)


@pytest.fixture
def client() -> Client:
    """A client that was sent nothing."""
    return Client()


def test_trickle(client: Client) -> None:
    """Who takes a few bytes now and then is too slow after the first window."""
    assert [client.take(128) for _ in range(7)] == [False] * 6 + [True]


def test_slow_line(client: Client) -> None:
    """The least rate is an average: bytes may come in bursts, with pauses between."""
    for _ in range(10):
        assert not client.take(ENOUGH + BYTES_PER_SECOND * 5)
        assert not any(client.take(0) for _ in range(5))


def test_slow_registry(client: Client) -> None:
    """Who has taken all that there was waits for others, however little it was."""
    for _ in range(20):
        assert not any(client.take(1, more=9) for _ in range(4))
        assert not client.take(10, more=0)


def test_what_the_system_holds_is_not_taken() -> None:
    """It takes megabytes for a client that reads nothing."""

    async def steps() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
        with client:
            _, writer = await asyncio.open_connection(sock=accepted)
            transport = writer.transport
            pace = Pace(transport)
            pace.sent = 64 << 20
            writer.write(bytes(pace.sent))
            unsent = transport.get_write_buffer_size()
            assert 0 < unsent < pace.sent
            pace.is_too_slow(0)
            assert 0 <= pace._taken < pace.sent - unsent
            transport.abort()

    asyncio.run(steps())
