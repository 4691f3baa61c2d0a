"""HAProxy as it is deployed, in front of replicas on loopback."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import serve
from bench.program import Command, ProgramError, find_program, running

CONFIG = serve.ROOT / "deploy" / "haproxy" / "haproxy.cfg"
NO_LIMIT = "1000000"
"""All clients have one address here."""
_SERVERS = re.compile(r"^ *server-template .*$", re.MULTILINE)


@contextmanager
def balancing(folder: Path, ports: Sequence[int], port: int) -> Iterator[None]:
    """Run HAProxy at a port, in front of what listens at the others.

    Raises:
        ProgramError: it is missing, or the replicas are named elsewhere by now.

    """
    servers = "\n".join(
        f"    server replica{number} 127.0.0.1:{one}"
        for number, one in enumerate(ports, 1)
    )
    text, count = _SERVERS.subn(servers, CONFIG.read_text())
    if count != 1:
        raise ProgramError(f"{CONFIG.name} does not name the replicas in one place")
    config = folder / f"haproxy-{port}.cfg"
    config.write_text(text)
    environment = {
        "HTTP_ADDRESS": f"127.0.0.1:{port}",
        "CONNECTIONS_MAX": NO_LIMIT,
        "NEW_CONNECTIONS_MAX": NO_LIMIT,
        "REQUESTS_MAX": NO_LIMIT,
    }
    command: Command = [find_program("haproxy"), "-db", "-f", config]
    log = folder / f"haproxy-{port}.log"
    with running(command, port, log=log, environment=environment):
        yield
