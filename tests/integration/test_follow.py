"""Blobs that clients get through the proxy, from a storage that they cannot reach."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.relay import Failure, Fault, Relay
from localcloud.server import Request, Response, Server
from tests.client.client import Skopeo
from tests.integration.blob import (
    BLOB_MEGABYTES,
    FOLLOW,
    Blob,
    blob_of,
    blob_requests,
    following,
    peak_megabytes,
    push_blob,
)
from tests.integration.fault import ALIAS, LOCATION, TIMEOUT_SECONDS, in_time, port_of
from tests.integration.registry import Installation, installed
from tests.integration.session import TIMEOUT
from tests.integration.storage import (
    ADDRESS,
    AGENT,
    NAME,
    SCRIPT,
    Nginx,
    known_to_the_proxy,
    storing,
)
from tests.integration.tool import wait_for_start

ALLOWED = {**FOLLOW, "BLOBS_ALLOW": f"{ADDRESS}/32"}

BEHIND_THE_HEAD = b"Accept-Ranges: bytes\r\n\r\n"
"""What stands in an answer of nginx before the blob."""
IMPATIENT = ("--set", f"balena_registry_timeout={TIMEOUT_SECONDS}")

type Stored = tuple[Installation, Nginx]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A registry that redirects to a storage of which only the name is told."""
    folder = tmp_path_factory.mktemp("stored")
    with (
        storing(folder) as nginx,
        installed(folder, redirect_to=nginx.url) as installation,
    ):
        yield installation, nginx


@pytest.fixture(scope="module")
def front(stored: Stored) -> Iterator[Proxy]:
    """The proxy in front of it, which knows the name."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        known_to_the_proxy(monkeypatch)
        with Proxy(stored[0].url, environment=ALLOWED, arguments=SCRIPT) as running:
            wait_for_start(running)
            yield running


def test_client_pulls_what_it_cannot_reach(
    stored: Stored, front: Proxy, skopeo: Skopeo
) -> None:
    """A client gets its blobs, and the storage sees the proxy alone."""
    installation, nginx = stored
    before = len(nginx.fetched)
    assert skopeo.pull(f"{front.host}/{ALIAS}") == installation.digest(LOCATION)
    fetched = nginx.fetched[before:]
    assert len(fetched) >= 4
    assert {one.rest for one in fetched} == {f"{NAME}:{nginx.port} {AGENT} -"}


def test_connection_to_the_storage_is_kept(stored: Stored, front: Proxy) -> None:
    """Blobs on one connection of a client come through one to the storage."""
    _, nginx = stored
    before = len(nginx.fetched)
    with blob_of(front) as blob:
        for _ in range(5):
            assert blob.is_whole(blob.ask())
    fetched = [one.connection for one in nginx.fetched[before:]]
    assert fetched.count(fetched[-1]) == 5


def growth(proxy: Proxy, blob: Blob, digest: str = "") -> int:
    """Return by how many megabytes the proxy grows for a large blob."""
    before = peak_megabytes(proxy.process.pid)
    url = blob.url.replace(blob.digest, digest or blob.digest)
    with blob.session.get(url, stream=True, timeout=TIMEOUT) as answer:
        size = sum(map(len, answer.iter_content(1 << 20)))
    assert size == BLOB_MEGABYTES << 20
    return peak_megabytes(proxy.process.pid) - before


def test_memory_does_not_grow_with_a_blob_of_the_storage(tmp_path: Path) -> None:
    """A blob larger than the proxy goes through it, and nothing of it stays."""
    folder = tmp_path / "storage"
    folder.mkdir()
    with (folder / "blob").open("wb") as sparse:
        sparse.truncate(BLOB_MEGABYTES << 20)
    with (
        storing(tmp_path) as nginx,
        LocalCloud() as cloud,
        following(cloud.registry_url) as proxy,
        blob_of(proxy) as blob,
    ):
        blob.ask()
        location = f"http://{ADDRESS}:{nginx.port}/blob"
        server(cloud).interpose = lambda _: Response(307, (("Location", location),))
        assert growth(proxy, blob) < 8


def test_memory_does_not_grow_with_a_blob_of_the_registry(tmp_path: Path) -> None:
    """So it is with one that the registry sends itself."""
    with installed(tmp_path) as installation, Proxy(installation.url) as proxy:
        digest = push_blob(installation)
        with blob_of(proxy) as blob:
            assert growth(proxy, blob, digest) < 40


def test_without_the_option_nothing_is_asked(signing: LocalCloud) -> None:
    """A blob costs one request to the registry, and none to the storage."""
    registry, storage = servers(signing)
    before = len(storage.requests), blob_requests(registry)
    with Proxy(signing.registry_url) as proxy, blob_of(proxy) as blob:
        assert {blob.ask().status_code for _ in range(5)} == {307}
    after = len(storage.requests), blob_requests(registry)
    assert after == (before[0], before[1] + 5)


@pytest.fixture(scope="module")
def redirecting() -> Iterator[LocalCloud]:
    """A registry whose redirects are signed, and the storage that checks them."""
    with LocalCloud(redirect_blobs=True) as running:
        yield running


@pytest.fixture
def signing(redirecting: LocalCloud) -> Iterator[LocalCloud]:
    """The same, which works again after the test."""
    yield redirecting
    for each in servers(redirecting):
        each.interpose = None


def servers(cloud: LocalCloud) -> tuple[Server, Server]:
    """Return the registry and the storage of a cloud that has both."""
    assert cloud.storage
    return server(cloud), cloud.storage


def test_signature_is_not_written(signing: LocalCloud, tmp_path: Path) -> None:
    """Neither log nor saved flows have a URL with which the blob could be had (T7)."""
    saved = tmp_path / "flows"
    loud = ("--set", "termlog_verbosity=debug", "--flow-detail", "4")
    with following(signing.registry_url, *loud, "-w", str(saved)) as proxy:
        with blob_of(proxy) as blob:
            assert all(blob.is_whole(blob.ask()) for _ in range(4))
        log = proxy.log
    flows = saved.read_bytes()
    _, storage = servers(signing)
    targets = [one.target for one in storage.requests]
    signatures = {target.partition("Signature=")[2] for target in targets}
    assert signatures
    for signature in signatures:
        assert signature
        assert signature not in log
        assert signature.encode() not in flows
    assert b"data?[redacted]" in flows


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://localhost:{port}/x", "localhost, which is "),
        ("http://[::ffff:127.0.0.1]:{port}/x", "::ffff:127.0.0.1 is not on"),
        ("http://0x7f.1:{port}/x", "neither a name nor an address"),
        ("{registry}/v2/again/blobs/x", "more than 4 in a row"),
    ],
)
def test_redirect_that_is_not_followed(
    signing: LocalCloud, location: str, said: str
) -> None:
    """The client gets 502, and nobody that could be reached is sent a request."""
    registry, storage = servers(signing)
    places = {"port": port_of(storage.url), "registry": registry.url}
    location = location.format_map(places) + "?Signature=secret"
    before = len(storage.requests)
    with following(signing.registry_url) as proxy, blob_of(proxy) as blob:
        registry.interpose = lambda request: (
            Response(307, (("Location", location),))
            if "/blobs/" in request.target
            else None
        )
        assert blob.ask().status_code == 502
        assert said in proxy.log
        assert "secret" not in proxy.log
    assert len(storage.requests) == before


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Relay, Proxy]]:
    """A registry whose storage is behind a cable that can be cut, and a proxy."""
    folder = tmp_path_factory.mktemp("broken")
    with (
        storing(folder) as nginx,
        Relay(nginx.port) as cable,
        installed(folder, redirect_to=f"http://localhost:{cable.port}") as installation,
        following(installation.url, *IMPATIENT) as proxy,
    ):
        yield cable, proxy
        cable.mend()


@pytest.mark.parametrize("failure", [Failure.CUT, Failure.STALL])
def test_blob_that_breaks_off(broken: tuple[Relay, Proxy], failure: Failure) -> None:
    """The client sees a broken transfer, never a clean end."""
    cable, proxy = broken
    with blob_of(proxy) as blob:
        for _ in range(3):
            assert blob.is_whole(blob.ask())
        cable.fail(Fault(failure, BEHIND_THE_HEAD, 300_000))
        with (
            in_time(),
            pytest.raises(requests.RequestException, match="IncompleteRead"),
        ):
            blob.ask()
        cable.mend()
        assert blob.is_whole(blob.ask())


@pytest.mark.parametrize("failure", [None, Failure.HANG, Failure.RESET])
def test_storage_that_does_not_answer(
    broken: tuple[Relay, Proxy], failure: Failure | None
) -> None:
    """The client gets an OCI error in time that names no address, and then the blob."""
    cable, proxy = broken
    with blob_of(proxy) as blob:
        for _ in range(3):
            blob.ask()
        if failure:
            cable.fail(Fault(failure))
        else:
            cable.refuse()
        with in_time():
            answer = blob.ask()
        assert answer.status_code == 502
        assert "the storage of the registry does not answer" in answer.text
        assert str(cable.port) not in answer.text
        cable.mend()
    with blob_of(proxy) as blob:
        assert blob.is_whole(blob.ask())


STORAGE_ANSWER = (
    ("Set-Cookie", "a=b"),
    ("Location", "http://other.example/"),
    ("WWW-Authenticate", "Basic realm=storage"),
    ("X-Amz-Request-Id", "storage-7"),
    ("Retry-After", "7"),
)


def test_error_of_the_storage(signing: LocalCloud) -> None:
    """Clients are told in our own words, and to wait; the next pull works."""
    _, storage = servers(signing)
    body = b"<Error><HostId>storage-7</HostId></Error>"
    place = f"127.0.0.1:{port_of(storage.url)}"
    storage.interpose = lambda _: Response(401, STORAGE_ANSWER, body)
    with following(signing.registry_url) as proxy, blob_of(proxy) as blob:
        answers = blob.ask(), blob.ask("HEAD")
        storage.interpose = None
        assert blob.is_whole(blob.ask())
        said = proxy.log
    name = answers[0].headers["X-Request-Id"][:8]
    assert answers[0].json()["errors"][0]["message"].endswith(f" [{name}]")
    lines = [line for line in said.splitlines() if line.endswith(f" [{name}]")]
    assert len(lines) == 1
    assert f"the storage {place} answers 401 Unauthorized to a URL" in lines[0]
    assert f"the storage {place} answers with status 401" in said
    for answer in answers:
        assert answer.status_code == 502
        assert "storage-7" not in answer.text + str(answer.headers)
        assert answer.headers["Retry-After"] == "7"
        hidden = {"Set-Cookie", "Location", "WWW-Authenticate", "X-Amz-Request-Id"}
        assert not hidden & set(answer.headers)


@pytest.mark.parametrize("moved", ["registry", "storage"])
def test_first_redirect(signing: LocalCloud, moved: str) -> None:
    """Where nobody redirected before, it does not reach the client, who asks again."""
    registry, storage = servers(signing)

    def send(request: Request) -> Response | None:
        return Response(200, (), b"x") if "/blobs/" in request.target else None

    def move(request: Request) -> Response | None:
        if "moved" in request.target:
            return None
        target = request.target.replace("?", "?moved=yes&")
        return Response(302, (("Location", f"{storage.url}{target}"),))

    with following(signing.registry_url) as proxy, blob_of(proxy) as blob:
        registry.interpose = send if moved == "registry" else None
        assert all(blob.ask().status_code == 200 for _ in range(3))
        registry.interpose = None
        storage.interpose = move if moved == "storage" else None
        surprised = blob.ask()
        assert (surprised.status_code, surprised.headers["Retry-After"]) == (503, "1")
        assert "Location" not in surprised.headers
        assert storage.host not in surprised.text
        assert blob.is_whole(blob.ask())


def server(cloud: LocalCloud) -> Server:
    """Return the registry of a cloud that has one."""
    assert cloud.registry
    return cloud.registry
