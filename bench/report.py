"""Decides how it is said what a replica can do, to people and to programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from bench.case import CLIENTS, MEGA, STREAMING_CLIENTS, Name
from bench.estimate import Shape, pulls_per_processor_second
from bench.figure import shown
from bench.machine import Machine
from bench.measurement import Result
from bench.table import Row, format_table

MILLI = 1000
TRANSPORTS = {"plain HTTP": False, "TLS": True}
REQUESTS = (
    Name.PING,
    Name.PING_NEW,
    Name.CHALLENGE,
    Name.REMEMBERED,
    Name.LOOKED_UP,
    Name.MANIFEST,
    Name.MANIFEST_NEW,
    Name.REDIRECT,
)
TEXT = """\
{machine}

Done by one second of a core's time: the median of all rounds, the lowest and highest.

{done}

A pull is {shape.requests} requests: challenge, token, HEAD and GET of the manifest,
and {shape.blobs} blobs; where these are streamed, they are {shape.megabytes:.0f} MB.
Each request takes a connection of its own, as with docker and podman, or none, where
a reverse proxy in front keeps some.

On the clock, by {clients} clients at once, or {few} where blobs are streamed:

{pulls}

In the end a replica took {memory:.0f} MB of memory.
"""


class Report:
    """What was found."""

    def __init__(
        self,
        machine: Machine,
        shapes: Mapping[Name, Shape],
        results: Sequence[Result],
        memory: int,
    ) -> None:
        self._machine = machine
        self._shapes = shapes
        self._results = {(result.name, result.is_tls): result for result in results}
        self._memory = memory

    def __str__(self) -> str:
        """Return it as text."""
        done = format_table(("", *TRANSPORTS), list(self._rows()))
        pulls = format_table(
            ("pulls", "a second", "median", "99%"), list(self._pulls())
        )
        return TEXT.format(
            machine=self._machine,
            done=done,
            shape=self._shapes[Name.PULL_STREAM],
            clients=CLIENTS,
            few=STREAMING_CLIENTS,
            pulls=pulls,
            memory=self._memory / MEGA,
        )

    def as_json(self) -> dict[str, object]:
        """Return it as JSON takes it."""
        return {
            "machine": asdict(self._machine),
            "memory_bytes": self._memory,
            "results": [result.as_json() for result in self._results.values()],
            "estimates": [
                {
                    "name": str(name),
                    "tls": is_tls,
                    **asdict(shape),
                    "per_cpu_second": self._estimate(name, is_tls=is_tls),
                }
                for name, shape in self._shapes.items()
                for is_tls in TRANSPORTS.values()
            ],
        }

    def _rows(self) -> Iterator[Row]:
        yield ("requests", "", "")
        for name in REQUESTS:
            yield self._row(name)
        yield ("megabytes", "", "")
        yield self._row(Name.STREAM)
        yield ("pulls", "", "")
        for name in self._shapes:
            yield self._row(name)
            estimates = (
                shown(self._estimate(name, is_tls=is_tls))
                for is_tls in TRANSPORTS.values()
            )
            yield ("    by the sum of its requests", *estimates)

    def _row(self, name: Name) -> Row:
        figures = (
            str(self._results[name, is_tls].per_processor_second)
            for is_tls in TRANSPORTS.values()
        )
        return (f"  {name}", *figures)

    def _pulls(self) -> Iterator[Row]:
        for name in self._shapes:
            for transport, is_tls in TRANSPORTS.items():
                result = self._results[name, is_tls]
                yield (
                    f"  {name}, {transport}",
                    str(result.per_second),
                    f"{result.median_seconds.middle * MILLI:.0f} ms",
                    f"{result.slow_seconds.middle * MILLI:.0f} ms",
                )

    def _estimate(self, name: Name, *, is_tls: bool) -> float:
        rates = {
            case: result.per_processor_second.middle
            for (case, is_this), result in self._results.items()
            if is_this == is_tls
        }
        return pulls_per_processor_second(self._shapes[name], rates)
