"""Many clients, slow ones and hostile ones: bounded, and nobody else waits for them."""

import json
import os
import resource
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay
from mitm.guard.hello import HANDSHAKE
from mitm.guard.reader import REQUEST_LENGTH_MAX
from registry_proxy.port import free_port
from tests.integration.blob import first_layer, push_blob
from tests.integration.fault import port_of
from tests.integration.raw import HOST, connected, get, receive, send
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT, get_token, logged_in, plain_session
from tests.integration.tool import has_traceback, wait_until
from tests.resolver.fake import DIGEST, LOCATION, base64url, jwt, pullable

ALIAS = "balenablocks/browser-aarch64/2.3.8"
CLIENTS = 100
CONNECTIONS_MAX = 60
IDLE = 300
FILES_MAX = 400
END = b"\r\n\r\n"
SLOW = 30
API_CONNECTIONS = 128
"""Which the proxy keeps open, however many clients there are."""
GROWTH_MEGABYTES_MAX = 120
FORGED = 150
"""Tokens of each costly kind."""
FORGED_GROWTH_MEGABYTES_MAX = 32
FORGED_TIMES_MAX = 5
"""How many times the processor's time of a token that is just wrong one may take."""


def started(url: str, **options: int) -> Proxy:
    """Return a proxy with these options of the addon, which is not yet running."""
    words = (f"balena_{name}={value}" for name, value in options.items())
    return Proxy(url, arguments=[part for word in words for part in ("--set", word)])


@contextmanager
def open_files_limited(number: int) -> Iterator[None]:
    """Let programs that are started meanwhile have no more files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ping(connection: socket.socket) -> None:
    """Get an answer to a health check, on a connection that stays open."""
    connection.sendall(b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n")
    answer = b""
    while not answer.endswith(b"pong"):
        piece = connection.recv(1 << 16)
        assert piece, "it was closed"
        answer += piece


def open_files(proxy: Proxy) -> int:
    """Return how many files the proxy has open."""
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


def megabytes(proxy: Proxy) -> int:
    """Return the memory that the proxy takes now."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def processor_seconds(proxy: Proxy) -> float:
    """Return how long the proxy was at work since it was started."""
    text = Path(f"/proc/{proxy.process.pid}/stat").read_text()
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def hasty(cloud: LocalCloud) -> Iterator[Proxy]:
    """A proxy that soon loses patience."""
    with started(cloud.registry_url, request_timeout=1, idle_timeout=2) as running:
        yield running


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        b"GET /v2/ HTTP/1.1\r\nX: ",
        b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 9\r\n" + HOST + b"\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
    ids=["nothing", "a letter", "half a head", "no form", "half a handshake"],
)
def test_request_that_does_not_come(hasty: Proxy, begun: bytes) -> None:
    """A client that sends no whole request is not waited for; others are served."""
    before = hasty.log.count("not whole after 1 s")
    with connected(hasty) as connection:
        connection.sendall(begun)
        get_token(f"http://{hasty.host}", ALIAS)
        answer = receive(connection)
    # Half a handshake is answered, because no whole one would be of use.
    is_answered = begun.startswith(HANDSHAKE)
    is_told = hasty.log.count("not whole after 1 s") > before
    assert is_answered or is_told == bool(begun)
    if is_told:
        assert answer.startswith(b"HTTP/1.1 408 the request is not whole after 1 s")


@pytest.mark.parametrize("length", [REQUEST_LENGTH_MAX, 1 << 20])
def test_head_without_an_end(hasty: Proxy, length: int) -> None:
    """Of a head no more than 64 KiB is taken, and the client is told (T8)."""
    answer = send(hasty, b"GET /v2/ HTTP/1.1\r\nX: " + b"x" * length)
    assert answer.startswith(b"HTTP/1.1 431 request line and headers have more than")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]
    wait_until(lambda: "more than 65536 bytes" in hasty.log, "a line of log")


def test_health_is_told_when_all_connections_are_in_use(
    installation: Installation,
) -> None:
    """Probes are answered, everything else gets a 503 in words (T8)."""
    with ExitStack() as stack:
        options = ("--set", "balena_connections_max=4")
        registry = stack.enter_context(Relay(port_of(installation.url)))
        url = f"http://localhost:{registry.port}"
        proxy = stack.enter_context(Proxy(url, arguments=options))
        registry.fail(Fault(Failure.HANG))
        stack.callback(registry.mend)
        # Half of them is what one address may have.
        for _ in range(2):
            connection = stack.enter_context(connected(proxy))
            connection.sendall(b"GET /v2/ HTTP/1.1\r\n" + HOST + b"\r\n")
        wait_until(lambda: registry.accepted >= 2, "all are in use")
        for _ in range(20):
            answer = send(proxy, b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")
        answer = send(proxy, b"GET /v2/ HTTP/1.1\r\n" + HOST + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 503 all connections that this registry")
        assert b"Retry-After: 10" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]
        assert "clients are turned away: all 4 connections are in use" in proxy.log


def test_idle_connections_give_way(cloud: LocalCloud) -> None:
    """There are no more connections than may be, and a pull still works (T8)."""
    with ExitStack() as stack:
        own = started(cloud.registry_url, connections_max=2 * CONNECTIONS_MAX)
        proxy = stack.enter_context(own)
        get_token(f"http://{proxy.host}", ALIAS)
        before = open_files(proxy)
        idle = [stack.enter_context(connected(proxy)) for _ in range(IDLE)]
        with logged_in(f"http://{proxy.host}", ALIAS) as session:
            digest, _ = first_layer(session, f"http://{proxy.host}", ALIAS)
            url = f"http://{proxy.host}/v2/{ALIAS}/blobs/{digest}"
            content = session.get(url, timeout=TIMEOUT).content
        assert f"sha256:{sha256(content).hexdigest()}" == digest
        assert open_files(proxy) - before <= CONNECTIONS_MAX + 10
        for connection in idle[: IDLE - CONNECTIONS_MAX - 10]:
            assert receive(connection) == b""
        ping(idle[-1])
        assert "turned away" not in proxy.log


def test_open_files_are_enough_for_readers_of_the_cache(
    cloud: LocalCloud, tmp_path: Path
) -> None:
    """As many as may connect read what is kept, at the same time (T8)."""
    port = free_port()
    variables = {
        "CACHE": str(tmp_path / "cache"),
        "METRICS_PORT": str(port),
        # All of them have one address.
        "TRUST_PROXY": "true",
    }
    with ExitStack() as stack:
        with open_files_limited(FILES_MAX):
            own = Proxy(cloud.registry_url, environment=variables)
            proxy = stack.enter_context(own)
        url = f"http://{proxy.host}"
        token = get_token(url, ALIAS)
        with logged_in(url, ALIAS) as session:
            digest, _ = first_layer(session, url, ALIAS)
            path = f"/v2/{ALIAS}/blobs/{digest}"
            assert session.get(f"{url}{path}", timeout=TIMEOUT).ok
            metrics = f"http://127.0.0.1:{port}/metrics"
            shown = session.get(metrics, timeout=TIMEOUT).text
        shown_max = shown.partition("\nbalena_proxy_connections_max ")[2].split()[0]
        clients = int(float(shown_max))
        assert clients > FILES_MAX // 10
        readers = [stack.enter_context(connected(proxy)) for _ in range(clients)]
        for reader in readers:
            reader.sendall(get(path, token))
        # The first bytes are on their way, and nobody takes the others.
        assert all(reader.recv(15) == b"HTTP/1.1 200 OK" for reader in readers)
        assert open_files(proxy) <= FILES_MAX
        for reader in readers:
            assert sha256(receive(reader).partition(END)[2]).hexdigest() in digest
        assert "Too many open files" not in proxy.log


def test_clients_that_do_not_read(tmp_path: Path) -> None:
    """They take no memory, let others be served, and are let go of in the end."""
    options = (
        *("--set", "balena_idle_timeout=1", "--set", "tcp_timeout=2"),
        *("--set", "termlog_verbosity=debug"),
    )
    with installed(tmp_path) as installation, ExitStack() as stack:
        proxy = stack.enter_context(Proxy(installation.url, arguments=options))
        url = f"http://{proxy.host}"
        digest, token = push_blob(installation), get_token(url, ALIAS)
        memory, files = megabytes(proxy), open_files(proxy)
        for _ in range(SLOW):
            connection = stack.enter_context(connected(proxy))
            connection.sendall(get(f"/v2/{ALIAS}/blobs/{digest}", token))
        wait_until(lambda: proxy.log.count("server connect") >= SLOW, "all connect")
        with logged_in(url, ALIAS) as session:
            assert first_layer(session, url, ALIAS)
        assert megabytes(proxy) - memory < GROWTH_MEGABYTES_MAX
        wait_until(lambda: open_files(proxy) <= files, "all are let go of")


def test_many_clients_of_which_half_break_off(installation: Installation) -> None:
    """The others get what they asked for, and nothing is left of any."""
    with Proxy(installation.url) as proxy:
        url = f"http://{proxy.host}"
        with logged_in(url, ALIAS) as session:
            digest, _ = first_layer(session, url, ALIAS)
        memory, files = megabytes(proxy), open_files(proxy)

        def pull(number: int) -> str | None:
            path = f"{url}/v2/{ALIAS}/blobs/{digest}"
            with (
                logged_in(url, ALIAS) as session,
                session.get(path, stream=True, timeout=TIMEOUT) as answer,
            ):
                if number % 2:
                    answer.raw.read(100_000)
                    return None
                return sha256(answer.content).hexdigest()

        with ThreadPoolExecutor(CLIENTS) as clients:
            digests = list(clients.map(pull, range(CLIENTS)))
        assert digests[::2] == [digest.removeprefix("sha256:")] * (CLIENTS // 2)
        files += API_CONNECTIONS
        wait_until(lambda: open_files(proxy) <= files, "all files are closed")
        assert megabytes(proxy) - memory < GROWTH_MEGABYTES_MAX
        assert "Traceback" not in proxy.log


def suffix_of(*found: object, **refusals: object) -> str:
    """Return a suffix with these candidates."""
    rows = {"org/app": {"w": 1, "c": found}} if found else {"org/app": LOCATION}
    payload = {"v": 2, "a": rows, "r": refusals}
    return f"~{base64url(json.dumps(payload, separators=(',', ':')).encode())}"


CLAIMED = [{"name": f"v2/{n:032x}", "alias": f"org/{n}"} for n in range(300)]
SERVICES = [f"{number:03x}" for number in range(375)]
VERSIONS = [f"1.{'0' * 40}-{'0.' * 20}{number}" for number in range(20)]
COSTLY: dict[str, tuple[dict[str, object], str]] = {
    "rows": ({}, suffix_of(*(["1.0.0", "", 0, 0, 0] for _ in range(64)))),
    "too many rows": ({}, suffix_of(*(["1", "", 0, 0, 0] for _ in range(150)))),
    "versions": ({}, suffix_of(*([text, "", 0, 0, 0] for text in VERSIONS))),
    "services": ({}, suffix_of(["1.0.0", "", SERVICES, 0, 0])),
    "refusals": ({}, suffix_of(**{f"{n}": ["DENIED", ""] for n in range(120)})),
    "aliases": ({"access": CLAIMED}, suffix_of()),
    "values": (
        {"x": ["x" * 8] * 1700},
        suffix_of(*([str(n), "", 0, 0, 0] for n in range(64))),
    ),
    "lists": ({"x": [[]] * 5500}, suffix_of(*(["1", "", 0, 0, 0] for _ in range(64)))),
    "as long as may be": ({"x": [[]] * 11_000}, suffix_of()),
}
"""What of a token takes the most to read, and to keep; the last takes 60 kB."""


def test_forged_tokens(cloud: LocalCloud) -> None:
    """Whoever makes them up takes no memory, and little more time than others (T8)."""
    paths = ("manifests/9.9.9", "tags/list", f"blobs/{DIGEST}")
    with Proxy(cloud.registry_url) as proxy, plain_session() as session:

        def ask(claims: dict[str, object], suffix: str) -> float:
            """Return how long the proxy was at work for as many as are forged."""
            before = processor_seconds(proxy)
            for number in range(FORGED):
                forged = jwt(**{"access": pullable([LOCATION]), "jti": number} | claims)
                url = f"http://{proxy.host}/v2/org/app/{paths[number % len(paths)]}"
                headers = {"Authorization": f"Bearer {forged}{suffix}"}
                answer = session.get(url, headers=headers, timeout=TIMEOUT)
                assert answer.status_code in (200, 401, 404), answer.text
            return processor_seconds(proxy) - before

        ask({}, suffix_of())
        usual, memory = ask({}, suffix_of()), megabytes(proxy)
        seconds = {name: ask(*parts) for name, parts in COSTLY.items()}
        assert megabytes(proxy) - memory < FORGED_GROWTH_MEGABYTES_MAX
        costly = {name: each / usual for name, each in seconds.items()}
        assert max(costly.values()) < FORGED_TIMES_MAX, costly
        assert not has_traceback(proxy.log)
