"""``make capacity``: what one replica can do, and what memory its clients take.

Figures are for one second of a core's time that the proxy took: they are the same on
a busy machine and on an idle one, and Python uses one core at most. Registry and API
speak TLS, as balenaCloud's do, and the proxy counts and logs as in production.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import contestant
from bench.contestant import PROXY, ROOT, Contestant
from bench.load import TIMEOUT, Client, Work, measure
from bench.program import ProgramError
from bench.site import BLOB, PULLED, Site
from bench.table import MEGA, Figures, Turn
from registry_proxy.port import free_port

AREAS = {"work": "What one replica does", "memory": "Memory of one replica"}
CONNECTIONS = 16
IDLE = 1000
"""Clients that keep a connection and send nothing."""
TRANSPORTS = {"plain HTTP": "", "TLS": "authority"}
"""What clients speak, and the variable for it."""
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"


def turns(site: Site, stack: ExitStack, seconds: int) -> Iterator[Turn]:
    """Start replicas, and yield everything that can be measured of them."""
    for transport, variable in TRANSPORTS.items():
        who = _start(site, stack, site.redirecting, variable)
        seen = partial(_memory, who, who.memory() / MEGA)
        yield "memory", "", transport, seen
        for case, whom, work, number in _cases(site, stack, who, variable):
            done = partial(_count, whom, work, number, seconds, site.folder)
            yield "work", case, transport, done


def _start(
    site: Site, stack: ExitStack, registry: str, tls: str, *options: str
) -> Contestant:
    """Start a replica."""
    more = {"TLS": tls, "METRICS_PORT": str(free_port()), "LOG_FORMAT": "json"}
    made = contestant.checkout(site, registry, ROOT, PROXY, *options, **more)
    return stack.enter_context(made.started(site))


def _cases(
    site: Site, stack: ExitStack, who: Contestant, tls: str
) -> Iterator[tuple[str, Contestant, Work, int]]:
    """Yield what is asked of whom, and how many requests are one; none for MB."""
    streaming = _start(site, stack, site.streaming, tls)
    forget = ("--set", "balena_cache_ttl=0")
    forgetting = _start(site, stack, site.redirecting, tls, *forget)
    client = Client(site, who, PULLED)
    pull = client.pull()
    requests = len(pull.questions)
    # From several clients at once, look-ups of one alias would be made once for all.
    looked_up = Client(site, forgetting, PULLED).token()
    blob = Client(site, streaming, BLOB).blob()
    for case, work, number in (
        ("ping", client.plain("/ping", 200), 1),
        ("challenge", client.plain("/v2/", 401), 1),
        ("token, alias remembered", client.token(), 1),
        ("manifest", client.manifest(), 1),
        (f"pull, {requests} requests", pull, requests),
    ):
        many = replace(work, connections=CONNECTIONS)
        yield case, who, many, number
        yield f"{case}, new connections", who, replace(many, is_kept=False), number
    yield "token, alias looked up", forgetting, looked_up, 1
    yield "MB of a blob, streamed", streaming, replace(blob, connections=4), 0


def _count(
    who: Contestant, work: Work, requests: int, seconds: int, folder: Path
) -> Figures:
    """Return how much is done in a second."""
    done, taken = measure(who, work, seconds, folder)
    amount = done["requests"] / requests if requests else done["bytes"] / MEGA
    return {
        "in a second of a core": amount / taken,
        "in a second": amount / done["seconds"],
    }


def _memory(who: Contestant, at_first: float) -> Figures:
    """Return what a replica takes, and what for each client that is idle."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    before = who.memory()
    with ExitStack() as stack:
        for _ in range(IDLE):
            client = socket.create_connection(("127.0.0.1", who.port), TIMEOUT)
            if who.url.startswith("https:"):
                client = context.wrap_socket(client)
            stack.enter_context(client).sendall(PING)
            if b" 200 " not in client.recv(4096):
                raise ProgramError(f"{who.url}/ping: not every client is answered")
        each = (who.memory() - before) / IDLE / 1000
    return {
        "MB at the start": at_first,
        "MB now": before / MEGA,
        f"kB for each of {IDLE} idle connections": each,
    }
