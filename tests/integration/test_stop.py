"""SIGTERM: what runs may finish, nobody else is let in, and then it ends."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcloud.relay import Failure, Fault
from tests.integration.blob import first_layer
from tests.integration.fault import ALIAS, IN_BLOB, Parts, parts, with_token
from tests.integration.raw import connected, get, receive
from tests.integration.session import TIMEOUT, get_token, plain_session
from tests.integration.tool import listens, wait_until

END_SECONDS = 60


@contextmanager
def stalled(folder: Path, grace: int) -> Iterator[tuple[Parts, socket.socket, int]]:
    """Yield the parts, a transfer that stands still in a blob, and the blob's size."""
    with parts(folder, options=(), environment={"GRACE_PERIOD": str(grace)}) as whole:
        token = get_token(whole.url, ALIAS)
        with with_token(whole) as session:
            digest, size = first_layer(session, whole.url, ALIAS)
        whole.registry.fail(Fault(Failure.STALL, IN_BLOB, 300_000))
        with connected(whole.proxy) as connection:
            connection.sendall(get(f"/v2/{ALIAS}/blobs/{digest}", token))
            assert connection.recv(1)
            yield whole, connection, size


def stop(whole: Parts) -> None:
    """Ask the proxy to end, and wait until its port is closed."""
    # Connections are let in one after the other: those made before are, after this.
    with plain_session() as session:
        session.get(f"{whole.url}/ping", timeout=TIMEOUT)
    whole.proxy.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not listens(whole.proxy.port), "the port is closed")


def test_transfer_finishes(tmp_path: Path) -> None:
    """A running transfer comes to its end, idle connections do not hold it up."""
    with stalled(tmp_path, grace=60) as (whole, transfer, size):
        with connected(whole.proxy) as idle:
            stop(whole)
            receive(idle)
        assert whole.proxy.process.poll() is None
        whole.registry.mend()
        assert len(receive(transfer)) > size
        assert whole.proxy.process.wait(END_SECONDS) == 0
        assert "1 requests may go on for 60 s" in whole.proxy.log
        assert "no request was cut off" in whole.proxy.log


def test_transfer_is_cut_off_after_the_grace_period(tmp_path: Path) -> None:
    """A transfer that takes longer breaks off, and the client sees that it does."""
    with stalled(tmp_path, grace=1) as (whole, transfer, size):
        stop(whole)
        assert whole.proxy.process.wait(END_SECONDS) == 0
        assert len(receive(transfer)) < size
        assert "1 requests were cut off" in whole.proxy.log


@pytest.mark.parametrize(("grace", "signals"), [(600, 2), (0, 1)])
def test_nothing_is_waited_for(tmp_path: Path, grace: int, signals: int) -> None:
    """It ends at once by a second signal, or where the grace period is 0 seconds."""
    with stalled(tmp_path, grace) as (whole, _, _):
        if signals == 2:
            stop(whole)
        whole.proxy.process.send_signal(signal.SIGTERM)
        assert whole.proxy.process.wait(END_SECONDS) == 0


def test_request_on_a_kept_connection_is_the_last(tmp_path: Path) -> None:
    """It is answered as a whole, so that nobody notices it; only /ready fails."""
    with stalled(tmp_path, grace=60) as (whole, transfer, size):
        token = get_token(whole.url, ALIAS)
        with with_token(whole) as session:
            digest, _ = first_layer(session, whole.url, ALIAS)
        # A request that is whole just after the signal is one on its way before it.
        waiting = [begin_request(whole, path) for path in ("/v2/", "/ping", "/ready")]
        login = f"Authorization: Bearer {token}\r\n"
        waiting.append(begin_request(whole, f"/v2/{ALIAS}/blobs/{digest}", login))
        stop(whole)
        whole.registry.mend()
        answers = []
        for connection in waiting:
            connection.sendall(b"\r\n")
            answers.append(receive(connection))
            connection.close()
        assert len(receive(transfer)) > size
    assert [a.split()[1] for a in answers] == [b"401", b"200", b"503", b"200"]
    for answer in answers:
        assert b"connection: close" in answer.partition(b"\r\n\r\n")[0].lower()
    assert b'"stopping": true' in answers[2]
    assert len(answers[3]) > size


def begin_request(whole: Parts, path: str, headers: str = "") -> socket.socket:
    """Return a connection on which all but the end of a request was sent."""
    connection = socket.create_connection(("127.0.0.1", whole.proxy.port), TIMEOUT)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: proxy.example\r\n{headers}".encode()
    )
    return connection
