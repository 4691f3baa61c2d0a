"""The connections that there are, and how many there may be.

Every client has one file open here, and one more towards the registry. Where there
are as many as may be, or an address has its share, the client that has been idle the
longest gives way. Where none is idle, the new one is a spare one: its health check is
answered, and everything else by an error.
"""

import asyncio
import logging
import time
from asyncio import StreamWriter
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy import connection, http
from mitmproxy.proxy import layer, server_hooks

from mitm.guard.pace import BYTES_PER_SECOND, WINDOW_SECONDS, Pace
from mitm.guard.parting import Parting, replace_http
from mitm.guard.reader import (
    PIECE_LENGTH,
    REGISTRY,
    AnswerReader,
    RequestReader,
    Traffic,
)
from mitm.guard.transport import find_transport, read_through
from resolver import errors
from resolver.content.answer import BUFFER_LENGTH_MAX
from resolver.upstream.share import household

logger = logging.getLogger(__name__)

LAST_REQUEST_SECONDS = 2
"""How long a request may still be on its way to a proxy that is being stopped."""
REPORT_SECONDS = 60
"""How often it is said that clients are turned away."""
LOOK_SECONDS = 5
"""How often it is looked at how much the clients take."""
SPARE_MAX = 16
"""Connections beyond the limit; where there are so many, the oldest gives way."""
SPARE_SECONDS = 5
"""How long such a one may take for its request."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections, and for how many seconds each is waited for."""

    connections: int
    share: int
    """How many of them one address may have."""
    idle_seconds: int
    request_seconds: int
    registry_seconds: int


TOOK_TOO_LONG = "it took too long"
"""Why a connection did not come about in time."""


@dataclass(slots=True)
class _Client:
    """A client's connection, and those to the registry that are made for it."""

    address: str
    reader: RequestReader
    writer: StreamWriter
    pace: Pace
    is_spare: bool
    """Whether it is one beyond the limit."""
    registry: dict[connection.Server, AnswerReader] = field(default_factory=dict)
    flows: dict[str, http.HTTPFlow] = field(default_factory=dict)
    tunnels: dict[connection.Server, connection.Server] = field(default_factory=dict)
    """What goes through each connection to a forward proxy."""
    is_slow: bool = False
    """Whether it took too little, and is let go."""
    may_go_elsewhere: bool = False
    """Whether a connection did not come about, and another address may be better."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A connection to the registry that is being made."""

    timer: asyncio.TimerHandle
    has_others: bool


class Connections:
    """The connections of a running proxy."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._limits: Limits
        self._clients: dict[str, _Client] = {}
        self._idle: dict[str, None] = {}
        """Those that wait for a request, the longest idle first."""
        self._lingering: dict[StreamWriter, str] = {}
        """Those of clients that are gone and have not read all, the first one first,
        with their addresses."""
        self._spare: dict[str, None] = {}
        """Those beyond the limit, the oldest first."""
        self._counts: Counter[str] = Counter()
        """How many each address has, without the spare ones."""
        self._look_timer: asyncio.TimerHandle | None = None
        self._connecting: dict[str, _Attempt] = {}
        self._reported = float("-inf")
        self._closed = asyncio.Event()
        self.traffic = Traffic()
        self.is_stopping = False
        """Whether every connection ends with the answer that it waits for."""

    def limit(self, limits: Limits) -> None:
        """Hold every connection that comes from now on to these limits."""
        self._limits = limits

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return sum(len(client.flows) for client in list(self._clients.values()))

    @property
    def clients(self) -> int:
        """How many connections of clients are open."""
        return len(self._clients) + len(self._lingering)

    @property
    def clients_max(self) -> int:
        """How many there may be."""
        return self._limits.connections

    @property
    def registry(self) -> int:
        """How many connections to the registry are open."""
        return sum(len(client.registry) for client in list(self._clients.values()))

    def flows_of(self, client: connection.Client) -> tuple[http.HTTPFlow, ...]:
        """Return the client's flows that are not over."""
        served = self._clients.get(client.id)
        return tuple(served.flows.values()) if served else ()

    def admit(self, client: connection.Client, *, speaks_tls: bool = False) -> None:
        """Let a client in, and listen to it with a limit, or turn it away."""
        stream = find_transport(client, client)
        if stream is None:
            return
        if not isinstance(stream.writer, StreamWriter) or stream.reader is None:
            client.error = "nothing but TCP is served"  # mitmproxy listens for HTTP/3.
            return
        # Of one that is gone already there is none.
        peername: tuple[str, int] | None = client.peername
        address = household(peername[0]) if peername else ""
        is_spare = not self._make_room(address)
        longest = SPARE_SECONDS if is_spare else self._limits.idle_seconds
        reader = RequestReader(
            stream.reader,
            client.peername,
            idle_seconds=min(longest, self._limits.idle_seconds),
            request_seconds=min(longest, self._limits.request_seconds),
            speaks_tls=speaks_tls,
        )
        read_through(stream, reader)
        pace = Pace(stream.writer.transport)
        self._clients[client.id] = _Client(
            address, reader, stream.writer, pace, is_spare
        )
        if is_spare:
            self._let_in_beyond(client.id)
        else:
            self._counts[address] += 1
        self._rest(client.id)
        if self._look_timer is None:
            self._look_later()

    def attend(self, client: connection.Client, top: layer.Layer) -> layer.Layer:
        """Return the layers of a client's connection with one that takes leave of it.

        What it sends is counted, too.
        """
        served = self._clients.get(client.id)
        if served is None:
            return top
        return replace_http(
            top, lambda http_layer: Parting(http_layer, served.reader, served.pace)
        )

    def check_room(self, flow: http.HTTPFlow) -> None:
        """See that the client is no spare one, which gets health checks alone.

        Raises:
            ServiceUnavailable: it is one.

        """
        client = self._clients.get(flow.client_conn.id)
        if client is None or not client.is_spare:
            return
        self._report()
        raise errors.ServiceUnavailable.with_retry_after(
            "all connections that this registry proxy may have are in use, or all that"
            " one address may have; try again later",
            errors.RETRY_AFTER_DEFAULT,
        )

    def part(self, flow: http.HTTPFlow, error: errors.RegistryError) -> None:
        """End a request whose rest is not waited for, and its connection, by an error.

        In HTTP/2 the connection goes on, and nothing is said.
        """
        client = self._clients.get(flow.client_conn.id)
        if client and not _is_multiplexed(flow):
            client.reader.farewell = error
        flow.kill()

    def forget(self, client: connection.Client) -> None:
        """Let go of a client; one that does not read what it was sent, a bit later."""
        self._idle.pop(client.id, None)
        gone = self._clients.pop(client.id, None)
        if gone is None:
            return
        if gone.is_spare:
            self._spare.pop(client.id, None)
            gone.writer.transport.abort()
        elif gone.writer.transport.get_write_buffer_size():
            # asyncio closes a connection once all is sent: never, if nobody reads it.
            self._lingering[gone.writer] = gone.address
            loop = asyncio.get_running_loop()
            loop.call_later(self._limits.idle_seconds, self._abort, gone.writer)
        else:
            self._let_go(gone.address)
        if not self._clients:
            self._closed.set()

    def connect(
        self,
        data: server_hooks.ServerConnectionHookData,
        seconds: float,
        *,
        has_others: bool = False,
    ) -> None:
        """Give the registry so long to accept a connection; called by its task."""
        task = asyncio.current_task()
        if task is not None:
            timer = asyncio.get_running_loop().call_later(
                seconds, task.cancel, TOOK_TOO_LONG
            )
            self._connecting[data.server.id] = _Attempt(timer, has_others)

    def connected(
        self,
        data: server_hooks.ServerConnectionHookData,
        peer: str = REGISTRY,
        seconds: int | None = None,
    ) -> None:
        """Listen to the registry, or to who it is, with a limit.

        Args:
            data: the connection.
            peer: who is at its other end, in words.
            seconds: that it may be silent, if not as long as the registry may.

        """
        self._end_attempt(data)
        client = self._clients.get(data.client.id)
        stream = find_transport(data.client, data.server)
        if client and stream and stream.reader is not None:
            reader = AnswerReader(
                stream.reader,
                seconds=seconds or self._limits.registry_seconds,
                traffic=self.traffic,
                peer=peer,
                piece_length=_piece_length(data),
            )
            read_through(stream, reader)
            client.registry[data.server] = reader

    def not_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Forget a connection that will not be."""
        has_others = self._end_attempt(data)
        if client := self._clients.get(data.client.id):
            client.may_go_elsewhere = has_others

    def disconnected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Forget a connection to the registry."""
        if client := self._clients.get(data.client.id):
            server = client.tunnels.pop(data.server, data.server)
            client.registry.pop(server, None)

    def begin_request(self, flow: http.HTTPFlow) -> None:
        """Take note that a client's request begins."""
        if client := self._clients.get(flow.client_conn.id):
            client.flows[flow.id] = flow
            self._idle.pop(flow.client_conn.id, None)

    def complete_request(self, flow: http.HTTPFlow) -> None:
        """Take note that the client's request is there as a whole."""
        if client := self._clients.get(flow.client_conn.id):
            client.reader.answer_request(is_multiplexed=_is_multiplexed(flow))

    def forward_request(
        self, flow: http.HTTPFlow, carrier: connection.Server, peer: str
    ) -> AnswerReader | None:
        """Let the time begin in which the registry has to say something.

        Returns what reads its answer, where that is known.

        Args:
            flow: whose request has a connection now.
            carrier: the connection, or the one to a proxy that it goes through.
            peer: who is at its end, in words.

        """
        client, server = self._clients.get(flow.client_conn.id), flow.server_conn
        if client is None:
            return None
        if carrier is not server and (reader := client.registry.pop(carrier, None)):
            client.registry[server] = reader
            client.tunnels[carrier] = server
            reader.peer = peer
        reader = client.registry.get(server)
        if reader and not reader.is_awaited:
            reader.expect_head()
        return reader

    def may_ask_again(self, flow: http.HTTPFlow) -> bool:
        """Return whether another connection may have an answer that this one has not.

        One that was kept may have been closed before it was asked. One on which the
        registry said nothing in time was asked, and so was one that is new. Where there
        was none at all, there may be one to another address.
        """
        if reader := self._registry(flow):
            return reader.is_kept and not reader.is_expired
        client = self._clients.get(flow.client_conn.id)
        return client is not None and client.may_go_elsewhere

    def is_slow(self, flow: http.HTTPFlow) -> bool:
        """Return whether a client is let go because it takes too little."""
        client = self._clients.get(flow.client_conn.id)
        return client is not None and client.is_slow

    def begin_answer(
        self, flow: http.HTTPFlow, *, is_streamed: bool
    ) -> AnswerReader | None:
        """Take an answer's body up to what may be held, or as a whole.

        Returns what reads it, where that is known.
        """
        if is_streamed:
            self._say_whether_it_is_the_last(flow)
        if reader := self._registry(flow):
            is_endless = is_streamed or flow.server_conn.alpn == b"h2"
            reader.expect_body(None if is_endless else BUFFER_LENGTH_MAX)
            return reader
        return None

    def end_answer(self, flow: http.HTTPFlow) -> None:
        """Wait for the client's next request, unless there shall be none."""
        client = self._clients.get(flow.client_conn.id)
        if client is None:
            return
        client.flows.pop(flow.id, None)
        peer, others = flow.server_conn, client.flows.values()
        # In HTTP/2 others may still wait for theirs.
        if (reader := client.registry.get(peer)) and all(
            other.server_conn is not peer for other in others
        ):
            reader.end_answer()
        self._say_whether_it_is_the_last(flow)
        if not client.flows:
            client.reader.expect_request()
            self._rest(flow.client_conn.id)

    async def stop(self, seconds: float) -> int:
        """Close what is idle, and wait until all else is; return what then remains."""
        self.is_stopping = True
        for name in list(self._idle):
            self._rest(name)
        if not self._clients:
            return 0
        self._closed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return self.running
        return 0

    def close(self) -> None:
        """Close every connection, whatever it is at."""
        for client in self._clients.values():
            client.reader.wait(0)

    def _say_whether_it_is_the_last(self, flow: http.HTTPFlow) -> None:
        """Let a connection end with its answer, if it shall have no other."""
        client = self._clients.get(flow.client_conn.id)
        is_last = self.is_stopping or (client is not None and client.is_spare)
        if is_last and flow.response and not _is_multiplexed(flow):
            flow.response.headers["Connection"] = "close"

    def _rest(self, name: str) -> None:
        """Take note that a client is idle, and has been for less than all others."""
        if not self._clients[name].is_spare:
            self._idle[name] = None
        if self.is_stopping:
            self._clients[name].reader.wait(LAST_REQUEST_SECONDS)

    def _registry(self, flow: http.HTTPFlow) -> AnswerReader | None:
        if client := self._clients.get(flow.client_conn.id):
            return client.registry.get(flow.server_conn)
        return None

    def _end_attempt(self, data: server_hooks.ServerConnectionHookData) -> bool:
        """Stop the time for a connection; return whether it is one of several."""
        attempt = self._connecting.pop(data.server.id, None)
        if attempt:
            attempt.timer.cancel()
        return attempt is not None and attempt.has_others

    def _make_room(self, address: str) -> bool:
        """Return whether there is room for a client, if need be of another's.

        An address that has its share makes room of its own.
        """
        if self._has_room(address):
            return True
        for writer in list(self._lingering):
            if not writer.transport.get_write_buffer_size():
                self._stop_lingering(writer)  # It has read all, or is gone for good.
        if self._has_room(address):
            return True
        is_own = self._has_share(address)
        for writer, holder in self._lingering.items():
            if holder == address or not is_own:
                self._abort(writer)
                return True
        for name in self._idle:
            if self._clients[name].address == address or not is_own:
                del self._idle[name]
                self._clients[name].reader.wait(0)
                return True
        return False

    def _has_room(self, address: str) -> bool:
        is_full = self._counts.total() >= self._limits.connections
        return not is_full and not self._has_share(address)

    def _has_share(self, address: str) -> bool:
        return self._counts[address] >= self._limits.share

    def _let_in_beyond(self, name: str) -> None:
        """Take note of a spare client, in whose place one may have to go.

        That is the oldest of the address that has the most of them.
        """
        if len(self._spare) >= SPARE_MAX:
            holders = {each: self._clients[each].address for each in self._spare}
            (most, _), *_ = Counter(holders.values()).most_common(1)
            oldest = next(each for each in self._spare if holders[each] == most)
            del self._spare[oldest]
            self._clients[oldest].writer.transport.abort()
        self._spare[name] = None

    def _abort(self, writer: StreamWriter) -> None:
        if writer in self._lingering:
            self._stop_lingering(writer)
            writer.transport.abort()

    def _stop_lingering(self, writer: StreamWriter) -> None:
        self._let_go(self._lingering.pop(writer))

    def _let_go(self, address: str) -> None:
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._look_timer = loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Let go of clients that hardly take anything, as long as there are any."""
        self._look_timer = None
        now = self._clock()
        for client in self._clients.values():
            if client.pace.is_too_slow(now):
                logger.warning(
                    "a client that takes less than %d bytes a second for %d s:"
                    " connection closed",
                    BYTES_PER_SECOND,
                    WINDOW_SECONDS,
                    extra={"client": client.writer.get_extra_info("peername")},
                )
                client.is_slow = True
                client.writer.transport.abort()
        if self._clients:
            self._look_later()

    def _report(self) -> None:
        """Say that clients are turned away, now and then: there may be thousands."""
        now = self._clock()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            logger.warning(
                "clients are turned away: all %d connections are in use"
                " (balena_connections_max), or the %d that one address may have",
                self._limits.connections,
                self._limits.share,
            )


def _is_multiplexed(flow: http.HTTPFlow) -> bool:
    return flow.client_conn.alpn == b"h2"


def _piece_length(data: server_hooks.ServerConnectionHookData) -> int:
    """Return how much is read at once; with TLS on both sides it is held twice."""
    is_held_twice = data.client.tls and data.server.tls
    return PIECE_LENGTH // 2 if is_held_twice else PIECE_LENGTH
