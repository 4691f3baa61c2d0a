"""Many clients, slow ones and hostile ones: bounded, and nobody else waits for them."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.relay import Failure, Fault
from mitm.guard.plain import HANDSHAKE
from tests.integration.blob import first_layer, push_blob
from tests.integration.fault import IN_BLOB, parts, with_token
from tests.integration.raw import HOST, connected, get, receive, send
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT, get_token, logged_in
from tests.integration.tool import wait_until

ALIAS = "balenablocks/browser-aarch64/2.3.8"
CLIENTS = 100
CONNECTIONS_MAX = 60
IDLE = 300
DEBUG = ("--set", "termlog_verbosity=debug")
SLOW = 30
API_CONNECTIONS = 32
"""Which the proxy keeps open, however many clients there are."""
GROWTH_MEGABYTES_MAX = 120


def set_options(**values: int) -> tuple[str, ...]:
    """Return the arguments of mitmdump that set options of the addon."""
    return tuple(
        word
        for name, value in values.items()
        for word in ("--set", f"balena_{name}={value}")
    )


def is_pong(connection: socket.socket) -> bool:
    """Return whether what comes next is the answer to a health check."""
    answer = b""
    with suppress(ConnectionError):
        while not answer.endswith(b"pong") and (piece := connection.recv(1 << 16)):
            answer += piece
    return answer.endswith(b"pong")


def send_all(connection: socket.socket, piece: bytes) -> bool:
    """Send pieces until nobody takes them; return whether that came about."""
    connection.settimeout(TIMEOUT)
    try:
        for _ in range(1 << 12):
            connection.sendall(piece)
    except ConnectionError:
        return True
    return False


def open_files(proxy: Proxy) -> int:
    """Return how many files the proxy has open."""
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


def megabytes(proxy: Proxy) -> int:
    """Return the memory that the proxy takes now."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


@pytest.fixture(scope="module")
def usual(cloud: LocalCloud) -> Iterator[Proxy]:
    """The proxy as it comes."""
    with Proxy(cloud.registry_url) as running:
        yield running


@pytest.fixture(scope="module")
def hasty(cloud: LocalCloud) -> Iterator[Proxy]:
    """A proxy that soon loses patience."""
    options = set_options(request_timeout=1, idle_timeout=2)
    with Proxy(cloud.registry_url, arguments=options) as running:
        yield running


@pytest.mark.parametrize(
    "begun",
    [b"", b"G", b"GET /v2/ HTTP/1.1\r\nX: ", b"\x16\x03\x01\x02\x00"],
    ids=["nothing", "a letter", "half a head", "half a handshake"],
)
def test_request_that_does_not_come(hasty: Proxy, begun: bytes) -> None:
    """A client that sends no whole request is not waited for; others are served."""
    before = hasty.log.count("not whole after 1 s")
    with connected(hasty) as connection:
        connection.sendall(begun)
        get_token(f"http://{hasty.host}", ALIAS)
        receive(connection)
    # Half a handshake is answered, because no whole one would be of use.
    is_answered = begun.startswith(HANDSHAKE)
    is_told = hasty.log.count("not whole after 1 s") > before
    assert is_answered or is_told == bool(begun)


def test_body_that_does_not_come(hasty: Proxy) -> None:
    """The form of a token request has to come in time as well."""
    head = b"POST /auth/v1/token HTTP/1.1\r\nContent-Length: 9\r\n" + HOST + b"\r\n"
    send(hasty, head)


def test_request_takes_no_longer_by_what_comes(hasty: Proxy) -> None:
    """The time is that of the whole request; a byte now and then does not extend it."""
    with connected(hasty) as connection:
        connection.settimeout(0.1)
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nX: ")
        for _ in range(200):
            try:
                assert connection.recv(1) == b""
            except TimeoutError:
                with suppress(ConnectionError):
                    connection.sendall(b"x")
            except ConnectionError:
                return
            else:
                return
    pytest.fail("the connection was kept open")


def test_head_without_an_end(usual: Proxy) -> None:
    """A head of more than 64 KiB is not taken, line by line or in one."""
    for piece in (b"x" * 4096, b"X: " + b"x" * 1000 + b"\r\n"):
        with connected(usual) as connection:
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nX: ")
            assert send_all(connection, piece)
    wait_until(lambda: usual.log.count("more than 65536 bytes") == 2, "lines of log")


def test_requests_that_nobody_waits_for(usual: Proxy) -> None:
    """What a client sends while it does not read the answers is not held for ever."""
    get_token(f"http://{usual.host}", ALIAS)
    request = b"GET /auth/v1/token?scope=repository:x/y:pull HTTP/1.1\r\n" + HOST
    with connected(usual) as connection:
        connection.sendall(request + b"\r\n")
        assert send_all(connection, b"x" * 65536)


def test_large_token_still_passes(usual: Proxy) -> None:
    """A request of some kilobytes is nothing out of the ordinary."""
    request = b"GET /ping HTTP/1.1\r\nAuthorization: Bearer " + b"x" * 16000 + b"\r\n"
    with connected(usual) as connection:
        for _ in range(20):
            connection.sendall(request + HOST + b"\r\n")
            assert is_pong(connection)


def test_idle_connections_give_way(cloud: LocalCloud) -> None:
    """There are no more connections than may be, and a pull still works (T8)."""
    options = set_options(connections_max=CONNECTIONS_MAX)
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(cloud.registry_url, arguments=options))
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
        idle[-1].sendall(b"GET /ping HTTP/1.1\r\n" + HOST + b"\r\n")
        assert is_pong(idle[-1])
        assert "turned away" not in proxy.log


def test_connections_at_work_are_kept(tmp_path: Path) -> None:
    """Where none is idle a new client is turned away, and those at work go on."""
    options = set_options(connections_max=3)
    with ExitStack() as stack:
        whole = stack.enter_context(parts(tmp_path, options=options))
        token = get_token(whole.url, ALIAS)
        with with_token(whole) as session:
            digest, size = first_layer(session, whole.url, ALIAS)
        whole.registry.fail(Fault(Failure.STALL, IN_BLOB, 300_000))
        path = f"/v2/{ALIAS}/blobs/{digest}"
        busy = [stack.enter_context(connected(whole.proxy)) for _ in range(3)]
        for connection in busy:
            connection.sendall(get(path, token))
            assert connection.recv(1)
        with connected(whole.proxy) as turned_away:
            receive(turned_away)
        assert "turned away: all 3 connections" in whole.proxy.log
        whole.registry.mend()
        for connection in busy:
            assert len(receive(connection)) > size


def test_clients_that_do_not_read(tmp_path: Path) -> None:
    """They take no memory, let others be served, and are let go of in the end."""
    options = (*set_options(idle_timeout=1), "--set", "tcp_timeout=2", *DEBUG)
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
