"""Who gives way where there are as many connections as may be."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from mitmproxy import connection, http
from mitmproxy.proxy import server_hooks
from mitmproxy.test import tflow

from mitm.guard.connection import (
    LOOK_SECONDS,
    SPARE_MAX,
    SPARE_SECONDS,
    Connections,
    Limits,
)
from mitm.guard.pace import WINDOW_SECONDS
from mitm.guard.reader import AnswerReader
from resolver import errors
from tests.mitm.guard.transport import Transport

LIMITS = Limits(
    connections=2, share=2, idle_seconds=60, request_seconds=60, registry_seconds=60
)


class Side:
    """Connections as mitmproxy knows them, with transports of our own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        self.connections = Connections(lambda: self.now)
        self.connections.limit(LIMITS)
        self._streams: dict[object, Any] = {}
        monkeypatch.setattr(
            "mitm.guard.connection.find_transport",
            lambda _, peer: self._streams.get(peer),
        )

    def connect(self, unsent: int = 0, address: str = "127.0.0.1") -> Any:
        """Return a client that asks to be let in."""
        flow = tflow.tflow()
        client = flow.client_conn
        client.peername = (address, 50_000)
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


def is_turned_away(side: Side, made: Any) -> bool:
    """Return whether a client gets an answer to nothing but health checks."""
    try:
        side.connections.check_room(made.flow)
    except errors.ServiceUnavailable as error:
        return dict(error.headers)["Retry-After"] == "10"
    return False


def test_busy_ones_stay(side: Side, caplog: pytest.LogCaptureFixture) -> None:
    """Where both are being answered the third is a spare one, which is told to go."""

    async def steps() -> None:
        busy = [side.connect(), side.connect()]
        for made in busy:
            side.connections.begin_request(made.flow)
        third, fourth = side.connect(), side.connect()
        assert is_turned_away(side, third)
        assert is_turned_away(side, fourth)
        assert side.connections.running == 2
        side.connections.begin_request(third.flow)
        third.flow.response = http.Response.make()
        side.connections.end_answer(third.flow)
        assert third.flow.response.headers["Connection"] == "close"
        side.connections.end_answer(busy[0].flow)
        assert not is_turned_away(side, side.connect())

    asyncio.run(steps())
    (record,) = caplog.records
    assert "all 2 connections are in use" in record.getMessage()


def test_spare_ones_are_few(side: Side) -> None:
    """The oldest of them goes, so a flood keeps no health check out for long (T8)."""

    async def steps() -> None:
        for _ in range(2):
            side.connections.begin_request(side.connect().flow)
        spare = [side.connect() for _ in range(SPARE_MAX + 1)]
        aborted = [made.writer.transport.is_aborted for made in spare]
        assert aborted == [True] + [False] * SPARE_MAX
        assert {await idle_seconds(made) for made in spare} == {SPARE_SECONDS}
        for made in spare:
            side.connections.forget(made.client)
        assert side.connections.clients == 2

    asyncio.run(steps())


def test_flood_keeps_no_health_check_out(side: Side) -> None:
    """Of the spare ones an address with many gives way before one with few (T8)."""

    async def steps() -> None:
        for _ in range(2):
            side.connections.begin_request(side.connect().flow)
        check = side.connect(address="192.0.2.9")
        flood = [side.connect(address="192.0.2.1") for _ in range(2 * SPARE_MAX)]
        assert not check.writer.transport.is_aborted
        assert sum(made.writer.transport.is_aborted for made in flood) == SPARE_MAX + 1

    asyncio.run(steps())


async def idle_seconds(made: Any) -> int:
    """Return for how long the client may send nothing."""
    deadline: float = made.stream.reader._deadline
    return round(deadline - asyncio.get_running_loop().time())


@pytest.mark.parametrize(
    ("address", "other"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("2001:db8::1", "2001:db8:0:1::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
    ],
)
def test_address_has_a_share(side: Side, address: str, other: str) -> None:
    """One address makes room for itself; the others have the rest (T8)."""

    async def steps() -> None:
        side.connections.limit(replace(LIMITS, connections=4, share=2))
        stranger = side.connect(address=other)
        idle, busy = (side.connect(address=address) for _ in range(2))
        side.connections.begin_request(busy.flow)
        new = side.connect(address=address)
        assert [await is_closed(made) for made in (stranger, idle)] == [False, True]
        assert not is_turned_away(side, new)
        side.connections.forget(idle.client)
        side.connections.begin_request(new.flow)
        assert is_turned_away(side, side.connect(address=address))
        assert not is_turned_away(side, side.connect(address=other))
        side.connections.forget(busy.client)
        assert not is_turned_away(side, side.connect(address=address))

    asyncio.run(steps())


def test_household_has_one_address(side: Side) -> None:
    """Of IPv6 the first half counts; who has it can choose the other (T8)."""

    async def steps() -> None:
        side.connections.limit(replace(LIMITS, connections=4, share=2))
        for number in range(2):
            made = side.connect(address=f"2001:db8::{number}")
            side.connections.begin_request(made.flow)
        assert is_turned_away(side, side.connect(address="2001:db8::ffff:1%eth0"))

    asyncio.run(steps())


def test_client_that_hardly_reads_is_let_go_of(
    side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    """It is looked at all clients, as long as there are any (T8)."""

    async def steps() -> None:
        slow, fast = side.connect(unsent=100_000), side.connect()
        for side.now in range(0, WINDOW_SECONDS + 1, LOOK_SECONDS):
            timer = side.connections._look_timer
            assert timer
            timer.cancel()
            side.connections._look()
        assert slow.writer.transport.is_aborted
        assert not fast.writer.transport.is_aborted
        for made in (slow, fast):
            side.connections.forget(made.client)
        side.connections._look()
        assert side.connections._look_timer is None

    asyncio.run(steps())
    (record,) = caplog.records
    assert "less than 1000 bytes a second" in record.getMessage()


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
            assert not is_turned_away(side, made)
            side.connections.begin_request(made.flow)
        assert [made.writer.transport.is_aborted for made in gone] == [bool(unsent)] * 2
        assert is_turned_away(side, side.connect())

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
        _, server = side.connections._clients[made.client.id].registry
        made.flow.server_conn = server
        side.connections.forward_request(made.flow, server, "")
        assert [reader.is_awaited for reader in (registry, storage)] == [False, True]
        assert side.connections.registry == 2

    asyncio.run(steps())


def test_tunnel_is_what_goes_through_it(side: Side) -> None:
    """What listens to the proxy listens to the registry, once there is a way to it."""

    async def steps() -> None:
        made = side.connect()
        reader = side.reach(made, ("proxy", 3128))
        (carrier,) = side.connections._clients[made.client.id].registry
        server = made.flow.server_conn = connection.Server(address=("registry", 443))
        side.connections.begin_request(made.flow)
        side.connections.forward_request(made.flow, carrier, "the registry")
        assert (reader.peer, reader.is_awaited) == ("the registry", True)
        assert side.connections.begin_answer(made.flow, is_streamed=False) is reader
        side.connections.end_answer(made.flow)
        assert (reader.is_awaited, reader.is_kept) == (False, True)
        assert side.connections.may_ask_again(made.flow)
        side.connections.forward_request(made.flow, carrier, "the registry")
        assert reader.is_awaited
        assert side.connections.registry == 1
        gone = server_hooks.ServerConnectionHookData(carrier, made.client)
        side.connections.disconnected(gone)
        assert side.connections.registry == 0
        assert server not in side.connections._clients[made.client.id].registry

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
        assert (reader.is_awaited, reader.is_kept) == (True, False)
        assert not side.connections.may_ask_again(other)
        side.connections.end_answer(other)
        assert (reader.is_awaited, reader.is_kept) == (False, True)
        assert side.connections.may_ask_again(other)

    asyncio.run(steps())
