"""Decides what a process takes: memory, files, threads, and who is connected to it.

All of it is read from `/proc`, which Linux has; elsewhere nothing is measured.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Ports:
    """Which ports tell who a connection is with."""

    proxy: int
    registry: int
    api: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What the proxy takes at a moment."""

    moment: float
    memory: int
    """Kilobytes that are resident."""
    files: int
    threads: int
    clients: int = 0
    """Connections with clients."""
    registry: int = 0
    api: int = 0

    @property
    def own_files(self) -> int:
        """The files beside the connections to registry and API, kept for later."""
        return self.files - self.registry - self.api


class Meter:
    """Measures one process."""

    def __init__(self, process: int, ports: Ports, *, proc: Path = PROC) -> None:
        self._folder = proc / str(process)
        self._ports = ports

    def read(self) -> Sample | None:
        """Return what the process takes now; None without `/proc`, or if it ended."""
        try:
            status = (self._folder / "status").read_text()
            links = self._links()
            connections = Counter(self._connections(links))
        except OSError:
            return None
        return Sample(
            time.monotonic(),
            memory=_number(status, "VmRSS:"),
            files=len(links),
            threads=_number(status, "Threads:"),
            clients=connections["clients"],
            registry=connections["registry"],
            api=connections["api"],
        )

    def _links(self) -> list[str]:
        """Return what the open files are."""
        links = []
        for link in (self._folder / "fd").iterdir():
            try:
                links.append(str(link.readlink()))
            except FileNotFoundError:
                continue  # It was closed meanwhile.
        return links

    def _connections(self, links: list[str]) -> list[str]:
        """Return with whom the process is connected.

        The columns of the table are described in
        https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html.
        """
        sockets = set(links)
        found = []
        for line in (self._folder / "net" / "tcp").read_text().splitlines()[1:]:
            _, local, remote, state, *_, inode = line.split()[:10]
            if state == _LISTENS or f"socket:[{inode}]" not in sockets:
                continue
            if _port(local) == self._ports.proxy:
                found.append("clients")
            elif _port(remote) == self._ports.registry:
                found.append("registry")
            elif _port(remote) == self._ports.api:
                found.append("api")
        return found


_LISTENS = "0A"


def slope(samples: Sequence[Sample]) -> float:
    """Return how many kilobytes of memory come each minute, by least squares."""
    if not samples:
        return 0.0
    minutes = [sample.moment / 60 for sample in samples]
    middle = sum(minutes) / len(minutes)
    mean = sum(sample.memory for sample in samples) / len(samples)
    spread = sum((minute - middle) ** 2 for minute in minutes)
    if not spread:
        return 0.0
    return (
        sum(
            (minute - middle) * (sample.memory - mean)
            for minute, sample in zip(minutes, samples, strict=True)
        )
        / spread
    )


def most(samples: Sequence[Sample]) -> Sample:
    """Return the greatest value of each kind."""
    return Sample(
        samples[-1].moment,
        *(
            max(getattr(sample, name) for sample in samples)
            for name in ("memory", "files", "threads", "clients", "registry", "api")
        ),
    )


def _number(status: str, name: str) -> int:
    return int(status.partition(name)[2].split()[0])


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
