"""A link to servers that are far away: a rate and a delay, on loopback.

A link is a line in each direction. All connections share its rate, and every byte
takes half of the round trip. A connection through it passes nothing for one round trip,
the time that the handshake of TCP takes, because loopback's own takes none. TCP's slow
start is not imitated, so a new connection costs less here than on a real link.

It is one event loop in a process of its own, so that it waits for nobody who is
measured: ``python -m bench.link`` takes a `Plan` as JSON and prints its ports. For each
line of input it prints a `Tally` of each port; if the line says so, it closes all
connections before. It ends with the input.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.program import ProgramError
from demo.terminal import say

ROOT = Path(__file__).resolve().parents[1]
RATE, ROUND_TRIP = 50_000_000 / 8, 0.04
"""Bytes in a second, and seconds: 50 Mbit/s and 40 ms."""
PIECE = 16_384
"""Bytes that one connection sends before it is another one's turn."""
QUEUE_SECONDS = 0.01
"""How long a byte may wait for its turn: a line that wakes up late is never idle."""
UNREAD_PIECES = 64
"""Pieces that may be under way or unread, before a connection's sender has to wait."""
END_SECONDS = 10
CLOSE = "close"

type Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which ports of loopback are far away, and how far."""

    targets: Sequence[int]
    rate: float = RATE
    round_trip: float = ROUND_TRIP


@dataclass(slots=True)
class Tally:
    """What passed through a port."""

    connections: int = 0
    sent: int = 0
    """Bytes to the server."""
    received: int = 0
    """Bytes from it."""

    def since(self, before: "Tally") -> "Tally":
        """Return what passed after another tally was taken."""
        return Tally(
            self.connections - before.connections,
            self.sent - before.sent,
            self.received - before.received,
        )


@dataclass(slots=True)
class Line:
    """One direction: when what is sent has left."""

    rate: float
    clock: Clock
    _free_at: float = 0

    def send(self, length: int) -> float:
        """Return the moment at which so many bytes have left, behind all others."""
        self._free_at = max(self.clock(), self._free_at) + length / self.rate
        return self._free_at

    @property
    def queue_seconds(self) -> float:
        """How long what is sent now would wait."""
        return max(0, self._free_at - self.clock())


@dataclass(slots=True)
class _Direction:
    """A line with those who wait for their turn, in the order in which they came."""

    line: Line
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, length: int) -> float:
        """Return the moment at which a piece has left; it is not waited for."""
        async with self.turn:
            wait = self.line.queue_seconds - QUEUE_SECONDS
            if wait > 0:
                await asyncio.sleep(wait)
            return self.line.send(length)


class Relay:
    """The link itself."""

    def __init__(self, plan: Plan) -> None:
        """Take the time of the loop that runs."""
        self._plan = plan
        self._clock = asyncio.get_running_loop().time
        self._up = _Direction(Line(plan.rate, self._clock))
        self._down = _Direction(Line(plan.rate, self._clock))
        self.tallies = [Tally() for _ in plan.targets]
        """By the order of the targets."""
        self._open: set[asyncio.StreamWriter] = set()

    async def listen(self) -> list[int]:
        """Return the port of each target's far end."""
        ports = []
        for target, tally in zip(self._plan.targets, self.tallies, strict=True):
            server = await asyncio.start_server(
                self._server(target, tally), "127.0.0.1", 0, limit=PIECE
            )
            ports.append(server.sockets[0].getsockname()[1])
        return ports

    def close_connections(self) -> None:
        """Close those that are open, as servers do with idle ones."""
        for writer in self._open:
            writer.close()

    def _server(
        self, target: int, tally: Tally
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            tally.connections += 1
            opened = self._clock() + self._plan.round_trip
            try:
                far_reader, far_writer = await asyncio.open_connection(
                    "127.0.0.1", target, limit=PIECE
                )
            except OSError:
                writer.transport.abort()
                return
            await asyncio.sleep(opened - self._clock())

            def up(length: int) -> None:
                tally.sent += length

            def down(length: int) -> None:
                tally.received += length

            ends = {writer, far_writer}
            self._open |= ends
            try:
                async with asyncio.TaskGroup() as tasks:
                    for end in (
                        (reader, far_writer, self._up, up),
                        (far_reader, writer, self._down, down),
                    ):
                        tasks.create_task(self._pass(*end))
            except* OSError:  # One of the ends reset it.
                for each in ends:
                    each.transport.abort()
            finally:
                self._open -= ends
                for each in ends:
                    each.close()

        return serve

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: _Direction,
        note: Callable[[int], None],
    ) -> None:
        """Pass what one end sends to the other, and that it ends."""
        under_way = asyncio.Queue[tuple[float, bytes]](UNREAD_PIECES)
        delay = self._plan.round_trip / 2
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._deliver(under_way, writer, note))
            while piece := await reader.read(PIECE):
                left_at = await direction.send(len(piece))
                await under_way.put((left_at + delay, piece))
            # The end has no length, and comes behind what was sent before.
            await under_way.put((self._clock() + delay, b""))

    async def _deliver(
        self,
        under_way: asyncio.Queue[tuple[float, bytes]],
        writer: asyncio.StreamWriter,
        note: Callable[[int], None],
    ) -> None:
        while True:
            arrives_at, piece = await under_way.get()
            wait = arrives_at - self._clock()
            if wait > 0:
                await asyncio.sleep(wait)
            if not piece:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            note(len(piece))
            writer.write(piece)
            await writer.drain()


class Link:
    """A link that runs in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], targets: Sequence[int]) -> None:
        self._process = process
        ports: Sequence[int] = json.loads(self._line())
        self.ports: Mapping[int, int] = dict(zip(targets, ports, strict=True))
        """Where each target is reached from afar."""

    def tally(self) -> Mapping[int, Tally]:
        """Return what has passed so far, by target."""
        return self._tally("")

    def close_connections(self) -> None:
        """Close those that are open, as servers do with idle ones."""
        self._tally(CLOSE)

    def _tally(self, word: str) -> Mapping[int, Tally]:
        assert self._process.stdin, "it is a pipe"  # noqa: S101
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        tallies = [Tally(**each) for each in json.loads(self._line())]
        return dict(zip(self.ports, tallies, strict=True))

    def _line(self) -> str:
        assert self._process.stdout, "it is a pipe"  # noqa: S101
        if line := self._process.stdout.readline():
            return line
        raise ProgramError("the link has ended")


@contextmanager
def open_link(
    targets: Sequence[int], *, rate: float = RATE, round_trip: float = ROUND_TRIP
) -> Iterator[Link]:
    """Put a link before ports of loopback, while the context lasts.

    Args:
        targets: the ports; nobody has to listen there yet.
        rate: bytes in a second, in each direction.
        round_trip: seconds.

    """
    plan = json.dumps(asdict(Plan(targets, rate, round_trip)))
    process = subprocess.Popen(  # noqa: S603 - there is no shell
        [sys.executable, "-m", "bench.link", plan],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Link(process, targets)
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=END_SECONDS)  # The end of its input ends it.
        process.kill()


async def _main(plan: Plan) -> None:
    relay = Relay(plan)
    say(json.dumps(await relay.listen()))
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip() == CLOSE:
            relay.close_connections()
        say(json.dumps([asdict(tally) for tally in relay.tallies]))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(Plan(**json.loads(sys.argv[1]))))
