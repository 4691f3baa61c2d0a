"""Who gives way where there are as many connections as may be."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import connection
from mitmproxy.proxy import server_hooks
from mitmproxy.test import tflow

from mitm.guard.connection import Connections, Limits
from mitm.guard.reader import AnswerReader

LIMITS = Limits(connections=2, idle_seconds=60, request_seconds=60, registry_seconds=60)


class Transport(asyncio.WriteTransport):
    """A connection, and how much of what it was given nobody has taken."""

    def __init__(self, unsent: int) -> None:
        super().__init__()
        self.unsent = unsent
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        """Return what is still to be sent."""
        return self.unsent

    def abort(self) -> None:
        """Take note."""
        self.is_aborted = True

    def is_closing(self) -> bool:
        """Return that there is nothing left to close."""
        return True


class Side:
    """Connections as mitmproxy knows them, with transports of our own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections = Connections()
        self.connections.limit(LIMITS)
        self._streams: dict[object, Any] = {}
        monkeypatch.setattr(
            "mitm.guard.connection.find_transport",
            lambda _, peer: self._streams.get(peer),
        )

    def connect(self, unsent: int = 0) -> Any:
        """Return a client that asks to be let in."""
        flow = tflow.tflow()
        client = flow.client_conn
        reader = asyncio.StreamReader()
        writer = asyncio.StreamWriter(
            Transport(unsent),
            asyncio.StreamReaderProtocol(reader),
            reader,
            asyncio.get_running_loop(),
        )
        self._streams[client] = SimpleNamespace(reader=reader, writer=writer)
        client.error = None
        self.connections.admit(client)
        return SimpleNamespace(
            flow=flow, client=client, stream=self._streams[client], writer=writer
        )

    def reach(self, made: Any, address: tuple[str, int]) -> AnswerReader:
        """Connect for the client; return what listens to the other end."""
        server = connection.Server(address=address)
        self._streams[server] = SimpleNamespace(reader=asyncio.StreamReader())
        data = server_hooks.ServerConnectionHookData(server, made.client)
        self.connections.connected(data)
        reader = self._streams[server].reader
        assert isinstance(reader, AnswerReader)
        return reader


async def is_closed(made: Any) -> bool:
    """Return whether nothing is read from the client any more."""
    try:
        async with asyncio.timeout(0):
            await made.stream.reader.read(1)
    except OSError:
        return bool(made.stream.reader._deadline <= asyncio.get_running_loop().time())
    return False


@pytest.fixture
def side(monkeypatch: pytest.MonkeyPatch) -> Side:
    """A proxy that takes two connections."""
    return Side(monkeypatch)


def test_longest_idle_gives_way(side: Side) -> None:
    """A new client takes the place of the one that has been idle the longest."""

    async def steps() -> None:
        first, second = side.connect(), side.connect()
        side.connections.begin_request(first.flow)
        side.connections.end_answer(first.flow)
        third = side.connect()
        assert third.client.error is None
        assert [await is_closed(made) for made in (first, second)] == [False, True]

    asyncio.run(steps())


def test_busy_ones_stay(side: Side) -> None:
    """Where both are being answered the third is turned away."""

    async def steps() -> None:
        busy = [side.connect(), side.connect()]
        for made in busy:
            side.connections.begin_request(made.flow)
        assert side.connect().client.error
        assert side.connections.running == 2
        side.connections.end_answer(busy[0].flow)
        assert side.connect().client.error is None

    asyncio.run(steps())


@pytest.mark.parametrize("unsent", [0, 1])
def test_client_that_left_makes_room(side: Side, unsent: int) -> None:
    """One that is gone does not count, and one that does not read on is let go of."""

    async def steps() -> None:
        gone = [side.connect(unsent=1), side.connect(unsent=1)]
        for made in gone:
            side.connections.begin_request(made.flow)
            side.connections.forget(made.client)
            made.writer.transport.unsent = unsent
        for _ in range(2):
            made = side.connect()
            assert made.client.error is None
            side.connections.begin_request(made.flow)
        assert [made.writer.transport.is_aborted for made in gone] == [bool(unsent)] * 2
        assert side.connect().client.error

    asyncio.run(steps())


def test_only_who_is_asked_has_to_answer(side: Side) -> None:
    """While a blob comes from the storage, the registry is not waited for in vain."""

    async def steps() -> None:
        made = side.connect()
        registry, storage = (
            side.reach(made, (host, 443)) for host in ("registry", "storage")
        )
        for reader in (registry, storage):
            reader.end_answer()
        made.flow.request.host, made.flow.request.port = "storage", 443
        side.connections.forward_request(made.flow)
        assert [reader._is_awaited for reader in (registry, storage)] == [False, True]
        assert side.connections.registry == 2

    asyncio.run(steps())


def test_connection_rests_once_nobody_waits(side: Side) -> None:
    """In HTTP/2 another request may wait for its answer on the same connection."""

    async def steps() -> None:
        made = side.connect()
        reader = side.reach(made, ("registry", 443))
        (server,) = side.connections._clients[made.client.id].registry
        other = tflow.tflow()
        other.client_conn = made.client
        made.flow.server_conn = other.server_conn = server
        for flow in (made.flow, other):
            side.connections.begin_request(flow)
        side.connections.end_answer(made.flow)
        assert (reader._is_awaited, reader.is_kept) == (True, False)
        assert not side.connections.may_ask_again(other)
        side.connections.end_answer(other)
        assert (reader._is_awaited, reader.is_kept) == (False, True)
        assert side.connections.may_ask_again(other)

    asyncio.run(steps())
