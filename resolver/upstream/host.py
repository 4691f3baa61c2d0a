"""Where hosts are reached: their addresses, and which of them accepts connections.

A name is looked up once for all that want it. Where it has several addresses, the one
that accepts a connection first is used from then on: they are tried at short intervals,
IPv6 and IPv4 in turns (RFC 8305, "Happy Eyeballs"). One that fails later is left alone
for a while. A host with one address costs nothing beside its look-up.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from itertools import chain, zip_longest
from selectors import EVENT_WRITE, DefaultSelector
from threading import Lock

from cachetools import LRUCache, TTLCache

from resolver.upstream.threads import start_thread

LOOK_UP_SECONDS = 10
"""How long a thread waits for an address."""
REMEMBERED_SECONDS = 10
"""How long the addresses of a host are used: an image's blobs are asked for at once."""
FAILURE_SECONDS = 1
"""How long it is remembered that there is none. That none accepts a connection is not:
it may in the next moment."""
TRUST_SECONDS = 60
"""How long an address is used because it accepted a connection, or left alone because
it did not."""
CONNECT_SECONDS = 2
"""How long one of several addresses has for a connection, before the next is tried."""
DELAY_SECONDS = 0.25
"""Between two addresses that are tried at once (RFC 8305 section 5)."""
HOSTS_MAX = 1000

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network
type Addresses = Sequence[str]
"""Those of one host, the one to try first at the beginning."""
type LookUp = Callable[[str, int], Addresses]
type _Key = tuple[Hashable, int]
"""What there is a question about, at a port."""
type _Memory = tuple[float, float]
"""For how many seconds an answer is remembered, and for how many that there is none."""
type Race = Callable[[Addresses, int], str]


def parse_address(host: str) -> Address | None:
    """Return the address that a host is, or None where it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def look_up_host(host: str, port: int) -> Addresses:
    """Return the host's addresses, the one to try first at the beginning.

    Raises:
        OSError: there is none, or nobody who knows it answers.

    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host} cannot be a host's name") from error
    return [str(address[0]) for *_, address in answers]


def unanswered(host: str) -> OSError:
    """Return the error for a name that nobody says anything of in time."""
    return socket.gaierror(socket.EAI_AGAIN, f"{host} was not looked up in time")


def first_to_accept(addresses: Addresses, port: int) -> str:
    """Return the address that accepts a connection first.

    Raises:
        OSError: none does.

    """
    failure = errno.ETIMEDOUT
    left = list(addresses)
    deadline = time.monotonic() + LOOK_UP_SECONDS
    with ExitStack() as stack, DefaultSelector() as selector:
        while left or (selector.get_map() and time.monotonic() < deadline):
            if left:
                address = left.pop(0)
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                attempt = stack.enter_context(socket.socket(family))
                attempt.settimeout(0)
                failure = attempt.connect_ex((address, port))
                if failure not in (0, errno.EINPROGRESS):
                    continue
                selector.register(attempt, EVENT_WRITE, address)
            pause = DELAY_SECONDS if left else deadline - time.monotonic()
            for key, _ in selector.select(pause):
                ended = key.fileobj
                assert isinstance(ended, socket.socket)  # noqa: S101
                failure = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not failure:
                    return str(key.data)
                selector.unregister(ended)
    if failure in (0, errno.EINPROGRESS):
        failure = errno.ETIMEDOUT
    raise OSError(failure, os.strerror(failure))


@dataclass(slots=True)
class _Errand[R]:
    """A question that is asked once, for all that have it."""

    answer: Future[R]
    expiry: float = float("inf")
    """When it has to be asked again; not before there is an answer."""


class Hosts:
    """The hosts that are connected to. For many threads, and for an event loop.

    Answers are futures: a thread waits for their result, a coroutine wraps them.
    """

    def __init__(
        self,
        *,
        look_up: LookUp = look_up_host,
        race: Race = first_to_accept,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look_up = look_up
        self._race = race
        self._clock = clock
        self._lock = Lock()
        self._names: LRUCache[_Key, _Errand[Addresses]] = LRUCache(HOSTS_MAX)
        self._races: LRUCache[_Key, _Errand[str]] = LRUCache(HOSTS_MAX)
        self._dead: TTLCache[tuple[str, int], None] = TTLCache(
            HOSTS_MAX, TRUST_SECONDS, clock
        )

    def find(self, host: str, port: int) -> str:
        """Return the address to connect to. Blocks.

        Raises:
            OSError: there is none, or it takes too long.

        """
        names = self.look_up(host, port)
        if not wait([names], LOOK_UP_SECONDS).done:
            raise unanswered(host)
        addresses = names.result()
        return self.choose(addresses, port).result(LOOK_UP_SECONDS)

    def look_up(self, host: str, port: int) -> Future[Addresses]:
        """Return all addresses of a host, in time; it fails with an OSError."""
        if parse_address(host):
            return _at_once([host])
        return self._ask(
            self._names,
            (host, port),
            lambda: self._look_up(host, port),
            (REMEMBERED_SECONDS, FAILURE_SECONDS),
        )

    def choose(self, addresses: Addresses, port: int) -> Future[str]:
        """Return the one of several to connect to; it fails with an OSError."""
        with self._lock:
            live = [each for each in addresses if (each, port) not in self._dead]
        live = list(dict.fromkeys(live or addresses))
        if len(live) == 1:
            return _at_once(live[0])
        return self._ask(
            self._races,
            (frozenset(live), port),
            lambda: self._race(_in_turns(live), port),
            (TRUST_SECONDS, 0),
        )

    def failed(self, address: str, port: int) -> None:
        """Take note that an address accepts no connection."""
        with self._lock:
            self._dead[address, port] = None
            for key, errand in list(self._races.items()):
                answer = errand.answer
                is_won = answer.done() and not answer.exception()
                if is_won and (answer.result(), port) == (address, key[1]):
                    del self._races[key]

    def _ask[R](
        self,
        errands: LRUCache[_Key, _Errand[R]],
        key: _Key,
        question: Callable[[], R],
        memory: _Memory,
    ) -> Future[R]:
        """Return the answer that is known or on its way, or ask for it."""
        with self._lock:
            last = errands.get(key)
            if last and last.expiry > self._clock():
                return last.answer
            try:
                # What the system looks up cannot be ended; there is one for each host.
                answer = start_thread("balena-host", question)
            except RuntimeError:
                # There is none left; what was so a moment ago may still be.
                if last and not last.answer.exception():
                    return last.answer
                failed = Future[R]()
                failed.set_exception(OSError("there is no thread to ask for it"))
                return failed
            errand = errands[key] = _Errand(answer)
        answer.add_done_callback(lambda _: self._remember(errand, memory))
        return answer

    def _remember[R](self, errand: _Errand[R], memory: _Memory) -> None:
        success_seconds, failure_seconds = memory
        is_failed = errand.answer.exception() is not None
        seconds = failure_seconds if is_failed else success_seconds
        errand.expiry = self._clock() + seconds


def _at_once[R](answer: R) -> Future[R]:
    """Return the answer as one that nobody has to wait for."""
    future = Future[R]()
    future.set_result(answer)
    return future


def _in_turns(addresses: Addresses) -> Addresses:
    """Return them with the two versions of IP in turns, beginning as they do."""
    version = ":" in addresses[0]
    first = [address for address in addresses if (":" in address) == version]
    others = [address for address in addresses if (":" in address) != version]
    pairs = chain.from_iterable(zip_longest(first, others))
    return [address for address in pairs if address is not None]
