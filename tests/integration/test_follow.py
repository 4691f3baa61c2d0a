"""Blobs that clients get through the proxy, from a storage that they cannot reach."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Response
from serve import free_port
from tests.authority import Authority
from tests.client.client import Skopeo
from tests.integration.blob import (
    ALIAS,
    FOLLOW,
    LOCATION,
    blob_of,
    blob_requests,
    following,
    peak_megabytes,
)
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
from tests.integration.test_metrics import Meter
from tests.integration.tool import ToolError

ALLOWED = {**FOLLOW, "BLOBS_ALLOW": f"{ADDRESS}/32"}
BLOB_MEGABYTES = 64
GROWTH_MEGABYTES_MAX = 8

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


def test_client_cannot_reach_it(stored: Stored, skopeo: Skopeo) -> None:
    """Without the option the redirect is the client's own affair, and it fails."""
    with (
        Proxy(stored[0].url) as proxy,
        pytest.raises(ToolError, match=f"lookup {NAME}"),
    ):
        skopeo.pull(f"{proxy.host}/{ALIAS}")


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=100-199", 100, 199),
        ("bytes=1000000-", 1_000_000, -1),
    ],
)
def test_range(front: Proxy, wanted: str, first: int, last: int) -> None:
    """A part of a blob comes with its exact range, so that a pull can be resumed."""
    with blob_of(front) as blob:
        whole = blob.ask()
        part = blob.ask(Range=wanted, If_Range=whole.headers["ETag"])
        changed = blob.ask(Range=wanted, If_Range='"other"')
    first, last = first % blob.size, last % blob.size
    assert blob.is_whole(whole)
    assert (part.status_code, part.content) == (206, whole.content[first : last + 1])
    assert part.headers["Content-Range"] == f"bytes {first}-{last}/{blob.size}"
    assert int(part.headers["Content-Length"]) == last + 1 - first
    assert part.headers["Docker-Content-Digest"] == blob.digest
    assert (changed.status_code, len(changed.content)) == (200, blob.size)


def test_answer_does_not_name_the_storage(front: Proxy) -> None:
    """The client gets what it needs of the head, and nothing else (T6)."""
    with blob_of(front) as blob:
        answer = blob.ask()
    assert set(map(str.lower, answer.headers)) == {
        *("accept-ranges", "content-length", "content-type", "docker-content-digest"),
        *("connection", "etag", "last-modified", "x-request-id"),
    }
    assert NAME not in str(answer.headers)


def test_blob_is_told_and_counted(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says where a blob came from, and the metrics how many bytes."""
    known_to_the_proxy(monkeypatch)
    port = free_port()
    metrics = {"METRICS_PORT": str(port)}
    with following(stored[0].url, *SCRIPT, **ALLOWED, **metrics) as proxy:
        meter = Meter(port)
        with blob_of(proxy) as blob:
            answer = blob.ask()
        assert meter.count("streamed_bytes_total") >= blob.size
        assert meter.count("requests_total", "blob", "served") == 1
        (line,) = re.findall(r"GET blob .*", proxy.log)
    assert "200, release 2.3.8+rev2, from the storage, " in line
    assert f"{blob.size} bytes" in line
    assert f"[{answer.headers['X-Request-Id'][:8]}]" in line


def test_tls_with_a_private_authority(
    stored: Stored, skopeo: Skopeo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage is verified as the registry is, and by its own name (T10)."""
    installation, _ = stored
    known_to_the_proxy(monkeypatch)
    authority = Authority("private")
    names = tmp_path / "names"
    names.mkdir()
    (tmp_path / "storage").symlink_to(installation.storage)
    trust = f"ssl_verify_upstream_trusted_ca={authority.write_file(tmp_path / 'ca')}"
    with (
        storing(tmp_path, tls=authority.server_file(names, NAME, "192.0.2.1")) as nginx,
        LocalCloud(tls=authority.server_context(tmp_path)) as cloud,
        following(cloud.registry_url, *SCRIPT, "--set", trust, **ALLOWED) as proxy,
    ):
        assert cloud.registry is not None
        cloud.registry.interpose = nginx.redirect
        pulled = skopeo.pull(f"{proxy.host}/{ALIAS}")
        assert pulled == installation.digest(LOCATION)
        assert len(nginx.fetched) >= 4


def test_address_that_was_checked_is_the_one_that_is_used(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves otherwise a moment later leads nowhere else (T11)."""
    _, nginx = stored
    known_to_the_proxy(monkeypatch, ADDRESS, "127.0.0.2")
    with following(stored[0].url, *SCRIPT, **ALLOWED) as proxy, blob_of(proxy) as blob:
        before = len(nginx.fetched)
        assert blob.is_whole(blob.ask())
        assert len(nginx.fetched) > before


def test_connection_to_the_storage_is_kept(stored: Stored, front: Proxy) -> None:
    """Blobs on one connection of a client come through one to the storage."""
    _, nginx = stored
    before = len(nginx.fetched)
    with blob_of(front) as blob:
        for _ in range(5):
            assert blob.is_whole(blob.ask())
    fetched = [one.connection for one in nginx.fetched[before:]]
    assert fetched.count(fetched[-1]) == 5


def test_memory_does_not_grow_with_the_blob(tmp_path: Path) -> None:
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
        assert cloud.registry is not None
        blob.ask()
        location = f"http://{ADDRESS}:{nginx.port}/blob"
        cloud.registry.interpose = lambda _: Response(307, (("Location", location),))
        before = peak_megabytes(proxy.process.pid)
        with blob.session.get(blob.url, stream=True, timeout=TIMEOUT) as answer:
            size = sum(map(len, answer.iter_content(1 << 20)))
        assert size == BLOB_MEGABYTES << 20
        assert peak_megabytes(proxy.process.pid) - before < GROWTH_MEGABYTES_MAX


@pytest.mark.parametrize("redirects", [True, False])
def test_without_the_option_nothing_is_asked(*, redirects: bool) -> None:
    """A blob costs one request to the registry, and a redirect passes as it came."""
    with (
        LocalCloud(redirect_blobs=redirects) as cloud,
        Proxy(cloud.registry_url) as proxy,
    ):
        assert cloud.registry is not None
        with blob_of(proxy) as blob:
            answers = [blob.ask() for _ in range(5)]
        assert blob_requests(cloud.registry.requests) == 5
        if redirects:
            assert cloud.storage is not None
            assert {answer.status_code for answer in answers} == {307}
            expected = f"{cloud.storage_url}/docker/registry/v2/blobs/"
            assert all(
                answer.headers["Location"].startswith(expected) for answer in answers
            )
            assert not len(cloud.storage.requests)
        else:
            assert all(map(blob.is_whole, answers))


def test_registry_that_sends_blobs_itself_costs_nothing() -> None:
    """After the first few answers a blob is asked for once, as without the option."""
    with LocalCloud() as cloud, following(cloud.registry_url) as proxy:
        assert cloud.registry is not None
        with blob_of(proxy) as blob:
            for _ in range(3):
                assert blob.is_whole(blob.ask())
            assert blob_requests(cloud.registry.requests) == 6
            for _ in range(5):
                assert blob.is_whole(blob.ask())
            assert blob_requests(cloud.registry.requests) == 11
            del blob.session.headers["Authorization"]
            assert blob.ask().status_code == 401
            assert blob_requests(cloud.registry.requests) == 12
        sent = [one.header("User-Agent") for one in cloud.registry.requests]
        assert sent.count(AGENT) == 4, "the API's name, and three blobs"
