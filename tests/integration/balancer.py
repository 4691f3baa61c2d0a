"""HAProxy as it is deployed, in front of replicas of the proxy on loopback."""

import csv
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from demo.proxy import Proxy
from localcloud.relay import Relay
from registry_proxy import ROOT
from registry_proxy.port import free_port
from tests.integration.fault import port_of
from tests.integration.registry import Installation
from tests.integration.tool import find_tool, listens, running, wait_until

CONFIG = ROOT / "deploy" / "haproxy" / "haproxy.cfg"
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
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        """Its own, without HAProxy."""
        self.registry = Relay(port_of(installation.url))
        """Between the replica and the registry."""
        self._variables = {
            "API_URL": installation.cloud.api_url,
            "TRUST_PROXY": "true",
            "GRACE_PERIOD": str(GRACE_SECONDS),
            **variables,
        }
        self.proxy: Proxy

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.registry)
            self.start()
            stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self.proxy.__exit__(None, None, None)
        self.registry.refuse()

    def start(self) -> None:
        """Begin to serve, on the same port each time."""
        self.proxy = Proxy(
            f"http://localhost:{self.registry.port}",
            port=self.port,
            environment=self._variables,
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

    def __init__(self, port: int, folder: Path) -> None:
        self.host = f"localhost:{port}"
        self.url = f"http://{self.host}"
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
    port = free_port()
    addresses = {
        "HTTP_ADDRESS": f"127.0.0.1:{port}",
        "TLS_ADDRESS": f"127.0.0.1:{free_port()}",
    }
    balancer = Balancer(port, folder)
    command: list[str | Path] = [find_tool("haproxy"), "-dW", "-db"]
    command += ["-f", folder / "haproxy.cfg", "-f", folder / "stats.cfg"]
    log = folder / "haproxy.log"

    def is_ready() -> bool:
        return listens(port) and (folder / "stats").exists()

    with running(command, is_ready, log=log, environment=addresses | variables):
        yield balancer
