"""Connections go where it is said, and servers are verified as it is said."""

import socket
import ssl
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import InsecureRequestWarning

from localcloud.server import Request, Response, Server
from resolver.errors import RedirectRefused, ServiceUnavailable
from resolver.upstream import adapter
from resolver.upstream.host import Hosts
from resolver.upstream.transport import Answer, Transport, Verification
from tests.authority import Authority, tls_context
from tests.resolver.fake import SOON
from tests.resolver.server import connected

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


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Return the places where authorities are."""
    return Places(tmp_path_factory.mktemp("authorities"))


@pytest.mark.parametrize(
    ("file", "folder", "is_trusted"),
    [
        ("own", "", True),
        ("", "own/", True),
        ("other", "own/", True),
        ("own", "other/", True),
        ("", "", False),
        ("other", "other/", False),
        ("", "empty/", False),
    ],
)
def test_authorities(
    places: Places, file: str, folder: str, *, is_trusted: bool
) -> None:
    """Those of file and folder count together; others get no request, and no key."""
    verification = Verification(
        ca_file=places.paths.get(file), ca_folder=places.paths.get(folder)
    )
    with connected(
        Response(200, (), b"safe"), tls=places.server, verification=verification
    ) as (ours, server, pauses):
        if is_trusted:
            assert ours.get(server.url, deadline=SOON).body == b"safe"
        else:
            with pytest.raises(ServiceUnavailable):
                ours.get(server.url, authorization="Bearer key", deadline=SOON)
        assert (len(server.requests), pauses) == (int(is_trusted), [])


def test_verification_can_be_switched_off(places: Places) -> None:
    """Without verification any certificate will do, and urllib3 warns about it."""
    unverified = Verification(enabled=False)
    with connected(Response(200), tls=places.server, verification=unverified) as parts:
        ours, server, _ = parts
        with pytest.warns(InsecureRequestWarning):
            found = ours.get(server.url, deadline=SOON)
    assert found.status == 200


def test_authorities_are_read_once(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many connections at once have them in common: each set takes time and memory."""
    made: list[ssl.SSLContext] = []
    read = adapter._tls_context

    def note(*arguments: Any) -> ssl.SSLContext:
        made.append(read(*arguments))
        return made[-1]

    monkeypatch.setattr(adapter, "_tls_context", note)
    together = threading.Barrier(8)
    verification = Verification(ca_file=places.paths["own"])
    with (
        Server(tls=places.server) as server,
        closing(Transport(verification)) as ours,
        ThreadPoolExecutor(8) as pool,
    ):

        def answer(_: Request) -> Response:
            together.wait(30)
            return Response(200)

        server.application = answer
        calls = [pool.submit(ours.get, server.url, deadline=SOON) for _ in range(8)]
        assert [call.result().status for call in calls] == [200] * 8
    assert len(made) == 1


def to_loopback(_host: str, _port: int) -> str:
    """Say that every host is this machine."""
    return "127.0.0.1"


def search(ours: Transport, url: str) -> Answer:
    """Return the answer of a storage."""
    return ours.search(url, method="GET", authorization=None, deadline=SOON)


def test_connection_goes_to_the_address() -> None:
    """A host is reached where it was found, and is still called by its name (T11)."""
    with (
        connected(Response(206)) as (_, storage, _),
        closing(Transport(Verification(), address_of=to_loopback)) as ours,
    ):
        port = storage.host.rpartition(":")[2]
        assert search(ours, f"http://{NAME}:{port}/x").status == 206
        assert [sent.header("Host") for sent in storage.requests] == [f"{NAME}:{port}"]


def test_next_try_goes_to_the_next_address() -> None:
    """An address that refuses a connection is left alone by whoever comes next."""
    pauses: list[float] = []
    asked: list[Sequence[str]] = []

    def race(addresses: Sequence[str], _port: int) -> str:
        asked.append(addresses)
        return addresses[0]

    hosts = Hosts(look_up=lambda _host, _port: ["127.0.0.2", "127.0.0.1"], race=race)
    with (
        connected(Response(200), Response(200)) as (_, server, _),
        closing(Transport(Verification(), sleep=pauses.append, hosts=hosts)) as ours,
    ):
        url = f"http://{NAME}:{server.host.rpartition(':')[2]}/"
        assert ours.get(url, deadline=SOON).status == 200
        assert ours.get(url, deadline=SOON).status == 200
    assert (len(pauses), asked) == (1, [["127.0.0.2", "127.0.0.1"]])


def test_name_without_an_address() -> None:
    """It is what the log says, after a few tries."""
    pauses: list[float] = []

    def look_up(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    hosts = Hosts(look_up=look_up)
    with (
        closing(Transport(Verification(), sleep=pauses.append, hosts=hosts)) as ours,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        ours.get(f"http://{NAME}/", deadline=SOON)
    assert len(pauses) == 2
    said = caught.value.explanation
    assert said == f"http://{NAME} does not answer: there is no such host"


def test_certificate_is_that_of_the_name(places: Places, tmp_path: Path) -> None:
    """TLS is with the name, whatever the address; another name is not believed."""
    file = places.authority.server_file(tmp_path, NAME, "192.0.2.1")
    verification = Verification(ca_file=places.paths["own"])
    with (
        Server(tls=tls_context(file)) as server,
        closing(Transport(verification, address_of=to_loopback)) as ours,
    ):
        server.interpose = lambda _: Response(206)
        port = server.host.rpartition(":")[2]
        assert search(ours, f"https://{NAME}:{port}/").status == 206
        for other in ("other.test", "127.0.0.1"):
            with pytest.raises(ServiceUnavailable):
                search(ours, f"https://{other}:{port}/")
        assert len(server.requests) == 1


def test_host_that_is_refused_is_not_connected_to() -> None:
    """Nothing is sent to a host that may not be reached, whatever was before (T11)."""
    asked: list[str] = []

    def address_of(host: str, port: int) -> str:
        asked.append(f"{host}:{port}")
        if len(asked) > 1:
            raise RedirectRefused("no")
        return host

    with (
        connected(Response(206)) as (_, storage, _),
        closing(Transport(Verification(), address_of=address_of)) as ours,
    ):
        search(ours, storage.url)
        with pytest.raises(RedirectRefused):
            search(ours, storage.url)
        assert asked == [storage.host] * 2
        assert len(storage.requests) == 1
