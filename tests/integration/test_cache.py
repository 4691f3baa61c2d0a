"""The cache of blobs, through a real proxy: what is served, and who is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Response
from tests.integration.blob import blob_of
from tests.integration.caching import asked, caching, servers
from tests.integration.tool import wait_until


@pytest.fixture(params=[False, True], ids=["streaming", "redirecting"])
def cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    """A cloud whose registry sends its blobs itself, and one with a storage."""
    with LocalCloud(redirect_blobs=request.param) as running:
        yield running


@pytest.fixture
def front(cloud: LocalCloud, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy with a cache, in front of it."""
    with caching(cloud.registry_url, tmp_path / "cache") as running:
        yield running


def test_second_pull_asks_nobody(cloud: LocalCloud, front: Proxy) -> None:
    """A blob is fetched once, and the answers are alike, byte by byte."""
    with blob_of(front) as blob:
        first = blob.ask()
        assert blob.is_whole(first)
        before = asked(cloud)
        for _ in range(3):
            assert blob.is_whole(blob.ask())
    assert asked(cloud) == before
    wait_until(lambda: front.log.count("from the cache, ") == 3, "three lines")
    assert front.log.count("fetched into the cache, ") == 1


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
