"""Asking where a blob is: without taking it, and only at the address that is said."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from localcloud.relay import Relay
from localcloud.server import Response, Server
from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.upstream.stream import AddressOf
from resolver.upstream.transport import SEARCH_LENGTH_MAX, Transport, Verification
from tests.authority import Authority, tls_context
from tests.resolver.fake import SOON

TOKEN = "Bearer head.payload.signature"
NAME = "storage.test"
"""A name that nobody knows."""


def to_loopback(_host: str, _port: int) -> str:
    """Say that every host is this machine."""
    return "127.0.0.1"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that keeps connections, and answers what a test says."""
    with Server() as running:
        yield running


def search(
    url: str, *, method: str = "GET", address_of: AddressOf | None = None
) -> int:
    """Return the status that the search finds."""
    with closing(Transport(Verification(), address_of=address_of)) as ours:
        found = ours.search(url, method=method, authorization=TOKEN, deadline=SOON)
    assert found.body == b""
    return found.status


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_search_asks_for_a_byte(server: Server, method: str) -> None:
    """It is like the client's request, and moves nothing where it is no redirect."""
    server.interpose = lambda _: Response(206, (), b"x")
    assert search(f"{server.url}/v2/x", method=method) == 206
    (sent,) = server.requests
    assert (sent.method, sent.target) == (method, "/v2/x")
    assert dict(sent.headers) == {
        "Host": server.host,
        "Accept-Encoding": "identity",
        "User-Agent": "balena-registry-proxy",
        "Accept": "*/*",
        "Range": "bytes=0-0",
        "Authorization": TOKEN,
    }


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_error_is_not_tried_again(server: Server, status: int) -> None:
    """The client itself is told, and may come again."""
    server.interpose = lambda _: Response(status, (("Retry-After", "1"),))
    assert search(server.url) == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("length", "connections"), [(0, 1), (SEARCH_LENGTH_MAX, 1), (8 << 20, 3)]
)
def test_connection_is_kept_where_that_costs_little(
    server: Server, length: int, connections: int
) -> None:
    """A short body is read away; a long one is left, and its connection closed."""
    server.interpose = lambda _: Response(307, (("Location", "/x"),), bytes(length))
    port = int(server.host.rpartition(":")[2])
    with Relay(port) as cable, closing(Transport(Verification())) as ours:
        for _ in range(3):
            found = ours.search(
                f"http://127.0.0.1:{cable.port}/",
                method="GET",
                authorization=None,
                deadline=SOON,
            )
            assert found.headers["Location"] == "/x"
        assert cable.accepted == connections


def test_address_is_the_one_that_is_said(server: Server) -> None:
    """A host is reached where it was found, and is still called by its name (T11)."""
    server.interpose = lambda _: Response(206)
    port = server.host.rpartition(":")[2]
    assert search(f"http://{NAME}:{port}/x", address_of=to_loopback) == 206
    assert [sent.header("Host") for sent in server.requests] == [f"{NAME}:{port}"]


def test_certificate_is_that_of_the_name(tmp_path: Path) -> None:
    """TLS is with the name, whatever the address; another name is not believed."""
    authority = Authority("private")
    verification = Verification(ca_file=authority.write_file(tmp_path / "ca.pem"))
    with Server(
        tls=tls_context(authority.server_file(tmp_path, NAME, "192.0.2.1"))
    ) as server:
        server.interpose = lambda _: Response(206)
        port = server.host.rpartition(":")[2]
        with closing(Transport(verification, address_of=to_loopback)) as ours:
            url = f"https://{NAME}:{port}/"
            found = ours.search(url, method="GET", authorization=None, deadline=SOON)
            assert found.status == 206
            with pytest.raises(ServiceUnavailable):
                ours.search(
                    url.replace(NAME, "other.test"),
                    method="GET",
                    authorization=None,
                    deadline=SOON,
                )


def test_host_that_is_refused_is_not_connected_to(server: Server) -> None:
    """Nothing is sent to a host that may not be reached (T11)."""
    asked: list[tuple[str, int]] = []

    def refuse(host: str, port: int) -> str:
        asked.append((host, port))
        raise RedirectRefused("no")

    with pytest.raises(RedirectRefused):
        search(server.url, address_of=refuse)
    host, _, port = server.host.rpartition(":")
    assert asked == [(host, int(port))]
    assert not len(server.requests)


def test_url_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A signed URL that cannot be used is not told, nor one whose host is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in (
        f"http://127.0.0.1:{port}/x?Signature=abc",
        "http://127.0.0.1:99999/x?Signature=abc",
    ):
        with pytest.raises(ServiceUnavailable) as failed:
            search(url)
        assert "Signature" not in failed.value.message
    assert "Signature" not in caplog.text
    assert f"http://127.0.0.1:{port} does not answer" in caplog.text
