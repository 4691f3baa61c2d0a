"""The cache of blobs, through a real proxy: what is served, and who is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Response, Server
from tests.integration.blob import blob_of, blob_requests


@pytest.fixture(params=[False, True], ids=["streaming", "redirecting"])
def cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    """A cloud whose registry sends its blobs itself, and one with a storage."""
    with LocalCloud(redirect_blobs=request.param) as running:
        yield running


@pytest.fixture
def front(cloud: LocalCloud, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy with a cache, in front of it."""
    with caching(cloud, tmp_path / "cache") as running:
        yield running


def caching(cloud: LocalCloud, folder: Path, **variables: str) -> Proxy:
    """Return a proxy with a cache in this folder."""
    variables = {"CACHE": str(folder), "CACHE_SIZE": "1GB", **variables}
    return Proxy(cloud.registry_url, environment=variables)


def servers(cloud: LocalCloud) -> list[Server]:
    """Return who sends blobs, and who says where they are."""
    return [server for server in (cloud.registry, cloud.storage) if server]


def asked(cloud: LocalCloud) -> int:
    """Return how many requests for blobs there were."""
    return sum(map(blob_requests, servers(cloud)))


def test_second_pull_asks_nobody(cloud: LocalCloud, front: Proxy) -> None:
    """A blob is fetched once, and the answers are alike, byte by byte."""
    with blob_of(front) as blob:
        first = blob.ask()
        assert blob.is_whole(first)
        before = asked(cloud)
        for _ in range(3):
            assert blob.is_whole(blob.ask())
    assert asked(cloud) == before
    assert front.log.count("fetched into the cache, ") == 1
    assert front.log.count("from the cache, ") == 3


def test_pull_while_the_storage_is_down(cloud: LocalCloud, front: Proxy) -> None:
    """Who has pulled the manifest gets what is kept, whoever else fails."""
    with blob_of(front) as blob:
        assert blob.is_whole(blob.ask())
    with blob_of(front) as blob:
        for server in servers(cloud):
            server.interpose = lambda _: Response(503)
        assert blob.is_whole(blob.ask())


def test_folder_is_an_image_layout(front: Proxy, tmp_path: Path) -> None:
    """Other tools find the blobs where an OCI image layout has them (C6)."""
    with blob_of(front) as blob:
        assert blob.is_whole(blob.ask())
        algorithm, _, text = blob.digest.partition(":")
        kept = tmp_path / "cache" / "blobs" / algorithm / text
        assert kept.stat().st_size == blob.size
    assert (tmp_path / "cache" / "oci-layout").is_file()
    assert not list((tmp_path / "cache" / "partial").iterdir())
