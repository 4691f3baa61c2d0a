"""HAProxy as it is deployed, in front of replicas of the proxy on loopback."""

import csv
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import serve
from demo.client import PullError
from demo.proxy import Proxy
from localcloud.relay import Relay
from serve import free_port
from tests.integration.fault import LOCATION, port_of
from tests.integration.registry import Installation
from tests.integration.tool import ToolError, find_tool, listens, running, wait_until

CONFIG = serve.ROOT / "deploy" / "haproxy" / "haproxy.cfg"
REPLICAS = 3
GRACE_SECONDS = 20
END_SECONDS = 30
_SERVERS = re.compile(r"^ *server-template .*$", re.MULTILINE)
_FIELD = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')
_STREAM = re.compile(r"^  server=(\S+) (?:.*\n)+?  res=.* total=(\d+)\)", re.MULTILINE)
"""What `show sess all` has about a request: who answers, and how much of it passed."""

type Entry = Mapping[str, str]
"""A line of HAProxy's log about a request."""


class Replica:
    """A proxy on a port of its own, which may be ended and started again."""

    def __init__(self, name: str, installation: Installation, **variables: str) -> None:
        self.name = name
        self._variables = variables
        self.port = free_port()
        self.registry = Relay(port_of(installation.url))
        """Between the replica and the registry."""
        self._api_url = installation.cloud.api_url
        self.proxy: Proxy

    def __enter__(self) -> Self:
        self.registry.__enter__()
        try:
            self.start()
        except BaseException:
            self.registry.refuse()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.proxy.__exit__(None, None, None)
        self.registry.refuse()

    @property
    def url(self) -> str:
        """Its own, without HAProxy."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to serve, on the same port each time."""
        self.proxy = Proxy(
            f"http://localhost:{self.registry.port}",
            port=self.port,
            environment={
                "API_URL": self._api_url,
                "TRUST_PROXY": "true",
                "GRACE_PERIOD": str(GRACE_SECONDS),
                **self._variables,
            },
        ).__enter__()

    def kill(self) -> None:
        """End it without a chance to say or finish anything."""
        self.proxy.process.kill()
        self.proxy.process.wait()

    def ask_to_end(self) -> None:
        """Let it finish what it does, and nothing more."""
        self.proxy.process.send_signal(signal.SIGTERM)

    def wait(self) -> str:
        """Return what it said, once it has ended."""
        assert self.proxy.process.wait(END_SECONDS) == 0
        return self.proxy.log

    def restart(self) -> None:
        """Serve again, after it has ended."""
        self.proxy.__exit__(None, None, None)
        self.start()


class Balancer:
    """A running HAProxy."""

    def __init__(self, port: int, tls_port: int, folder: Path) -> None:
        self.host = f"localhost:{port}"
        self.url = f"http://{self.host}"
        self.tls_host = f"localhost:{tls_port}"
        self.folder = folder

    @property
    def log(self) -> str:
        """What it printed, once no request is being answered: each has a line then."""
        wait_until(lambda: not self._transfers(), "all requests are over")
        return (self.folder / "haproxy.log").read_text()

    @property
    def entries(self) -> list[Entry]:
        """What the log has about requests, the first one first."""
        found = [
            {name: quoted or bare for name, quoted, bare in _FIELD.findall(line)}
            for line in self.log.splitlines()
        ]
        return [entry for entry in found if "replica" in entry]

    def is_up(self, *replicas: Replica) -> bool:
        """Return whether HAProxy sends requests to each of these."""
        states = self._states("status")
        return all(states[replica.name].startswith("UP") for replica in replicas)

    def is_checked(self, replica: Replica) -> bool:
        """Return whether the replica passed its last check."""
        return self._states("check_status")[replica.name] == "L7OK"

    def is_sending(self, replica: Replica, length: int) -> bool:
        """Return whether so much passed of an answer of the replica that goes on."""
        return any(
            name == replica.name and int(total) >= length
            for name, total in self._transfers()
        )

    def _transfers(self) -> list[tuple[str, str]]:
        """Return who answers each request, and how much of the answer passed."""
        found = _STREAM.findall(self._ask("show sess all"))
        return [transfer for transfer in found if transfer[0] != "<NONE>"]

    def _states(self, column: str) -> Mapping[str, str]:
        rows = csv.DictReader(self._ask("show stat -1 4 -1").splitlines())
        return {row["svname"]: row[column] for row in rows}

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.folder / "stats"))
            connection.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: connection.recv(1 << 16), b"")).decode()


@dataclass(frozen=True, slots=True)
class Balanced:
    """What a pull through HAProxy goes through."""

    installation: Installation
    replicas: Sequence[Replica]
    balancer: Balancer

    @property
    def digest(self) -> str:
        """What a client has after it pulled `fault.ALIAS`."""
        return self.installation.digest(LOCATION)

    def mend(self) -> None:
        """Let all replicas serve again, and HAProxy know it."""
        for replica in self.replicas:
            replica.registry.mend()
            if replica.proxy.process.poll() is not None:
                replica.restart()
        wait_until(lambda: self.balancer.is_up(*self.replicas), "all replicas are up")


class Pulls:
    """What became of pulls that go on in the background."""

    def __init__(self) -> None:
        self.count = 0
        self.errors: list[str] = []
        self._over = threading.Event()

    def repeat(self, pull: Callable[[], object]) -> None:
        """Pull again and again, until it is over."""
        while not self._over.is_set():
            try:
                pull()
            except (PullError, ToolError, OSError) as error:
                self.errors.append(str(error))
            self.count += 1

    def end(self) -> None:
        """Let each pull be the last one."""
        self._over.set()


@contextmanager
def pulling(*pulls: Callable[[], object]) -> Iterator[Pulls]:
    """Repeat each of the pulls until the context ends, all at the same time."""
    made = Pulls()
    with ThreadPoolExecutor(len(pulls)) as background:
        running_ = [background.submit(made.repeat, pull) for pull in pulls]
        try:
            yield made
        finally:
            made.end()
    for each in running_:
        each.result()


@contextmanager
def balancing(
    folder: Path, replicas: Sequence[Replica], **variables: str
) -> Iterator[Balancer]:
    """Run HAProxy as it is deployed, but for where the replicas are."""
    servers = "\n".join(
        f"    server {replica.name} 127.0.0.1:{replica.port}" for replica in replicas
    )
    text, count = _SERVERS.subn(servers, CONFIG.read_text())
    assert count == 1, "there is one place in which the replicas are named"
    (folder / "haproxy.cfg").write_text(text)
    # What tests look at; the deployed one has no such door.
    (folder / "stats.cfg").write_text(f"global\n    stats socket {folder / 'stats'}\n")
    port, tls_port = free_port(), free_port()
    environment = {
        "HTTP_ADDRESS": f"127.0.0.1:{port}",
        "TLS_ADDRESS": f"127.0.0.1:{tls_port}",
        **variables,
    }
    balancer = Balancer(port, tls_port, folder)
    command: list[str | Path] = [find_tool("haproxy"), "-dW", "-db"]
    command += ["-f", folder / "haproxy.cfg", "-f", folder / "stats.cfg"]
    log = folder / "haproxy.log"

    def is_ready() -> bool:
        return listens(port) and (folder / "stats").exists()

    with running(command, is_ready, log=log, environment=environment):
        yield balancer


@contextmanager
def balanced(folder: Path, installation: Installation) -> Iterator[Balanced]:
    """Run replicas, and HAProxy in front of them."""
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(Replica(f"replica{number}", installation))
            for number in range(1, REPLICAS + 1)
        ]
        balancer = stack.enter_context(balancing(folder, replicas))
        yield Balanced(installation, replicas, balancer)
