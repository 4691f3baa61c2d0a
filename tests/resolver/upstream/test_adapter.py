"""Connections go where it is said, and servers are verified as it is said."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from urllib3.exceptions import InsecureRequestWarning

from localcloud.server import Response
from localcloud.server import Server as CloudServer
from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.upstream.transport import Answer, Transport, Verification
from tests.authority import Authority, tls_context
from tests.resolver.fake import SOON
from tests.resolver.server import Reply, Server, connected

NAME = "storage.test"
"""A name that nobody knows."""


class Places:
    """Files and folders of authorities: the server's own, and others."""

    def __init__(self, folder: Path) -> None:
        self.authority, other = Authority("private"), Authority("other")
        self.server = self.authority.server_context(folder)
        (folder / "empty").mkdir()
        self.paths = {
            "own": self.authority.write_file(folder / "ca.pem"),
            "own/": self.authority.write_folder(folder / "folder"),
            "other": other.write_file(folder / "other.pem"),
            "other/": other.write_folder(folder / "other"),
            "empty/": str(folder / "empty"),
        }

    def verification(self, file: str, folder: str) -> Verification:
        """Return that of a file and a folder, either of which may be missing."""
        return Verification(
            ca_file=self.paths.get(file), ca_folder=self.paths.get(folder)
        )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Return the places where authorities are."""
    return Places(tmp_path_factory.mktemp("authorities"))


@pytest.mark.parametrize(
    ("file", "folder", "is_trusted"),
    [
        ("own", "", True),
        ("", "own/", True),
        ("own", "own/", True),
        ("other", "own/", True),
        ("own", "other/", True),
        ("", "", False),
        ("other", "", False),
        ("", "other/", False),
        ("", "empty/", False),
        ("other", "empty/", False),
    ],
)
def test_authorities(
    places: Places, file: str, folder: str, *, is_trusted: bool
) -> None:
    """Those of file and folder count together; others get no request, and no key."""
    server = Server([Reply(body=b"safe")], places.server)
    with connected(server, places.verification(file, folder)) as (ours, pauses):
        if is_trusted:
            assert ours.get(server.url, deadline=SOON).body == b"safe"
        else:
            with pytest.raises(ServiceUnavailable):
                ours.get(server.url, authorization="Bearer key", deadline=SOON)
    assert (len(server.requests), pauses) == (int(is_trusted), [])


def test_verification_can_be_switched_off(places: Places) -> None:
    """Without verification any certificate will do, and urllib3 warns about it."""
    server = Server([Reply(body=b"unsafe")], places.server)
    with (
        connected(server, Verification(enabled=False)) as (ours, _),
        pytest.warns(InsecureRequestWarning),
    ):
        assert ours.get(server.url, deadline=SOON).body == b"unsafe"


def to_loopback(_host: str, _port: int) -> str:
    """Say that every host is this machine."""
    return "127.0.0.1"


@pytest.fixture
def storage() -> Iterator[CloudServer]:
    """A server that serves a byte of every blob."""
    with CloudServer() as server:
        server.interpose = lambda _: Response(206)
        yield server


def search(ours: Transport, url: str) -> Answer:
    """Return the answer of a storage."""
    return ours.search(url, method="GET", authorization=None, deadline=SOON)


def test_connection_goes_to_the_address(storage: CloudServer) -> None:
    """A host is reached where it was found, and is still called by its name (T11)."""
    port = storage.host.rpartition(":")[2]
    with closing(Transport(Verification(), address_of=to_loopback)) as ours:
        assert search(ours, f"http://{NAME}:{port}/x").status == 206
    assert [sent.header("Host") for sent in storage.requests] == [f"{NAME}:{port}"]


def test_certificate_is_that_of_the_name(places: Places, tmp_path: Path) -> None:
    """TLS is with the name, whatever the address; another name is not believed."""
    file = places.authority.server_file(tmp_path, NAME, "192.0.2.1")
    verification = places.verification("own", "")
    with (
        CloudServer(tls=tls_context(file)) as server,
        closing(Transport(verification, address_of=to_loopback)) as ours,
    ):
        server.interpose = lambda _: Response(206)
        port = server.host.rpartition(":")[2]
        assert search(ours, f"https://{NAME}:{port}/").status == 206
        for other in ("other.test", "127.0.0.1"):
            with pytest.raises(ServiceUnavailable):
                search(ours, f"https://{other}:{port}/")
        assert len(server.requests) == 1


def test_host_that_is_refused_is_not_connected_to(storage: CloudServer) -> None:
    """Nothing is sent to a host that may not be reached, whatever was before (T11)."""
    asked: list[tuple[str, int]] = []

    def address_of(host: str, port: int) -> str:
        asked.append((host, port))
        if len(asked) > 1:
            raise RedirectRefused("no")
        return host

    with closing(Transport(Verification(), address_of=address_of)) as ours:
        search(ours, storage.url)
        with pytest.raises(RedirectRefused):
            search(ours, storage.url)
    host, _, port = storage.host.rpartition(":")
    assert asked == [(host, int(port))] * 2
    assert len(storage.requests) == 1
