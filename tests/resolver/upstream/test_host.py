"""Which address of a host is connected to, and how often one is looked for."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from threading import Event, Thread

import pytest

from resolver.upstream import host
from resolver.upstream.host import (
    FAILURE_SECONDS,
    REMEMBERED_SECONDS,
    TRUST_SECONDS,
    Hosts,
    first_to_accept,
    look_up_host,
)
from tests.deaf import deaf

NAME = "registry.test"
SIX, FOUR = ["2001:db8::1", "2001:db8::2"], ["192.0.2.1", "192.0.2.2"]


class Net:
    """Names and addresses that say what they are told to, and count."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] | OSError = addresses
        self.looked_up = 0
        self.failure: OSError | None = None
        self.races: list[Sequence[str]] = []
        self.now = 0.0
        self.open = Event()
        self.open.set()
        self.hosts = Hosts(look_up=self._look_up, race=self._race, clock=self._clock)

    def _clock(self) -> float:
        return self.now

    def _look_up(self, _host: str, _port: int) -> Sequence[str]:
        self.looked_up += 1
        self.open.wait(10)
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return self.addresses

    def _race(self, addresses: Sequence[str], _port: int) -> str:
        self.races.append(addresses)
        if self.failure:
            raise self.failure
        return addresses[0]

    def find(self) -> str:
        """Return the address of the host."""
        return self.hosts.find(NAME, 443)


def test_name_is_looked_up_once_for_all() -> None:
    """Who wants it while it is looked up gets the same, and so who comes after."""
    net = Net("192.0.2.1")
    net.open.clear()

    async def steps() -> set[str]:
        asked = [net.hosts.look_up(NAME, 443) for _ in range(90)]
        net.open.set()
        found = await asyncio.gather(*map(asyncio.wrap_future, asked))
        return {address for addresses in found for address in addresses}

    assert asyncio.run(steps()) == {"192.0.2.1"}
    assert net.find() == "192.0.2.1"
    assert net.looked_up == 1
    net.now = REMEMBERED_SECONDS
    net.find()
    assert net.looked_up == 2


def test_name_that_is_not_found_is_asked_for_again_soon() -> None:
    """A failure is the same for all that ask at once, and for a moment only."""
    net = Net()
    net.addresses = socket.gaierror(socket.EAI_AGAIN, "try again")
    for _ in range(3):
        with pytest.raises(OSError, match="try again"):
            net.find()
    assert net.looked_up == 1
    net.now, net.addresses = FAILURE_SECONDS, ["192.0.2.1"]
    assert net.find() == "192.0.2.1"


def test_look_up_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread waits for the system, and nobody else for longer than it makes sense.

    Whoever comes meanwhile waits for the same look-up.
    """
    monkeypatch.setattr(host, "LOOK_UP_SECONDS", 0.01)
    net = Net("192.0.2.1")
    net.open.clear()
    for _ in range(3):
        with pytest.raises(socket.gaierror, match="not looked up in time"):
            net.find()
    assert net.looked_up == 1
    net.open.set()
    assert net.hosts.look_up(NAME, 443).result(10) == ("192.0.2.1",)


def test_without_a_thread_what_was_known_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And as soon as the system has a thread again, somebody is asked."""
    net = Net("192.0.2.1")
    assert net.find() == "192.0.2.1"
    net.now, net.addresses = REMEMBERED_SECONDS, ["192.0.2.2"]
    start, other = Thread.start, Net("192.0.2.3")

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", fail)
    assert net.find() == "192.0.2.1"
    with pytest.raises(OSError, match="no thread"):
        other.find()
    monkeypatch.setattr(Thread, "start", start)
    assert (net.find(), other.find()) == ("192.0.2.2", "192.0.2.3")


def test_one_address_is_not_tried() -> None:
    """It is the only one, whatever became of it, and an address is its own."""
    net = Net("192.0.2.1", "192.0.2.1")
    net.hosts.failed("192.0.2.1", 443)
    assert net.find() == "192.0.2.1"
    assert net.hosts.find("2001:db8::7", 443) == "2001:db8::7"
    assert (net.races, net.looked_up) == ([], 1)


def test_versions_of_ip_take_turns() -> None:
    """Where one is not connected at all, the other one comes second (RFC 8305)."""
    net = Net(*SIX, *FOUR)
    assert net.find() == SIX[0]
    net.find()
    assert net.races == [[SIX[0], FOUR[0], SIX[1], FOUR[1]]]


def test_dead_address_is_left_alone_for_a_while() -> None:
    """Those that are left are used; if there are none, all are tried again."""
    net = Net(*FOUR)
    assert net.find() == FOUR[0]
    net.hosts.failed(FOUR[0], 80)  # Something else at the same address.
    assert net.find() == FOUR[0]
    net.hosts.failed(FOUR[0], 443)
    assert net.find() == FOUR[1]
    assert len(net.races) == 1
    net.hosts.failed(FOUR[1], 443)
    assert net.find() == FOUR[0]
    assert len(net.races) == 2
    net.hosts.failed(FOUR[0], 443)
    net.find()
    assert len(net.races) == 3
    net.now = TRUST_SECONDS
    net.find()
    assert len(net.races) == 4


@pytest.mark.parametrize(
    "addresses", [("127.0.0.2", "127.0.0.1"), ("::1", "127.0.0.1")]
)
def test_first_to_accept_wins(addresses: tuple[str, str]) -> None:
    """An address that swallows what is sent to it is not waited for."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        stack.enter_context(deaf(addresses[0], port))
        assert first_to_accept(addresses, port) == "127.0.0.1"
        assert first_to_accept(addresses[::-1], port) == "127.0.0.1"


def test_host_that_is_back_is_used_at_once() -> None:
    """That no address accepted a connection says nothing about the next moment."""
    net = Net(*FOUR)
    net.failure = ConnectionRefusedError("refused")
    with pytest.raises(ConnectionRefusedError):
        net.find()
    net.failure = None
    assert net.find() == FOUR[0]


def test_nobody_accepts() -> None:
    """The last reason is given."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # It does not listen.
        with pytest.raises(ConnectionRefusedError):
            first_to_accept(["127.0.0.1", "127.0.0.2"], bound.getsockname()[1])


def test_system_looks_up_names() -> None:
    """An address is read as it stands; what can be no name is not found."""
    assert look_up_host("127.0.0.1", 443) == ["127.0.0.1"]
    assert look_up_host("::1", 443) == ["::1"]
    with pytest.raises(OSError, match="cannot be a host's name"):
        look_up_host("a" * 64 + ".test", 443)
