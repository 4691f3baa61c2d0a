"""The cache is filled by commands, and a real proxy gives its blobs to who may pull."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.account import KEYS
from localcloud.image import OCI_MANIFEST
from localcloud.server import Response, Server
from registry_proxy import ROOT
from tests.integration.blob import blob_requests
from tests.integration.fault import ALIAS
from tests.integration.session import TIMEOUT, logged_in
from tests.integration.tool import find_tool, run

PRIVATE = "balenablocks/private-block/1.0.0"
SECONDS = 60


@pytest.fixture(params=[False, True], ids=["streaming", "redirecting"])
def cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    """A cloud whose registry sends its blobs itself, and one with a storage."""
    with LocalCloud(redirect_blobs=request.param) as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The folder of the cache."""
    return tmp_path / "cache"


@pytest.fixture
def front(cloud: LocalCloud, cache: Path) -> Iterator[Proxy]:
    """A proxy with that cache, in front of the cloud."""
    with Proxy(cloud.registry_url, environment={"CACHE": str(cache)}) as running:
        yield running


def command(*words: str | Path, status: int = 0, **variables: str) -> str:
    """Return what a command prints, which ends with the status."""
    done = subprocess.run(
        [sys.executable, "-m", "registry_proxy", *map(str, words)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == status, done.stdout
    return done.stdout


def servers(cloud: LocalCloud) -> list[Server]:
    """Return who sends blobs, and who says where they are."""
    return [server for server in (cloud.registry, cloud.storage) if server]


def break_blobs(cloud: LocalCloud) -> None:
    """Let nobody send a blob any more, nor say where it is."""
    for server in servers(cloud):
        server.interpose = lambda r: Response(503) if "/blobs/" in r.target else None


def asked(cloud: LocalCloud) -> int:
    """Return how many requests for blobs there were."""
    return sum(map(blob_requests, servers(cloud)))


def test_prefetched_image_is_pulled_while_the_storage_is_down(
    cloud: LocalCloud, front: Proxy, cache: Path
) -> None:
    """Another client than that which fetched it gets all of it."""
    port = str(front.port)
    said = command("prefetch", ALIAS, "balenablocks/nothing", status=1, PROXY_PORT=port)
    assert f"{ALIAS}: 6.3 MB, all digests as they should be\n" in said
    assert "balenablocks/nothing: error (login): " in said
    assert "6 blobs, 6.3 MB of 20.0 GB" in command("cache", CACHE=str(cache))
    before = asked(cloud)
    assert before
    break_blobs(cloud)
    said = command("pull", f"{front.host}/{ALIAS}")
    assert said.endswith("Pulled 6.3 MB, all digests as they should be.\n")
    assert asked(cloud) == before


@pytest.fixture
def stick(cloud: LocalCloud, tmp_path: Path) -> Path:
    """A stick with a private image, as somebody who may have it has written it."""
    stick = tmp_path / "stick"
    with Proxy(cloud.registry_url) as other:
        reference = f"{other.host}/{PRIVATE}"
        key = KEYS["carol"]
        command("pull", reference, "--output", stick, BALENA_API_KEY=key)
    return stick


def test_stick_serves_whom_the_registry_would(
    cloud: LocalCloud, front: Proxy, cache: Path, stick: Path
) -> None:
    """The registry is asked for no blob; a stranger gets none, though he knows it."""
    before = asked(cloud)
    said = command("prefetch", "--from", f"oci:{stick}", CACHE=str(cache))
    assert f" copied from {stick} to {cache}, 0 blobs (0 bytes) there already" in said
    said = command("pull", f"{front.host}/{PRIVATE}", BALENA_API_KEY=KEYS["carol"])
    assert "all digests as they should be." in said
    assert asked(cloud) == before
    said = command("pull", f"{front.host}/{PRIVATE}", status=1)
    assert "error (login)" in said
    layer = layer_of(front)
    for key in (None, KEYS["bob"]):
        with logged_in(f"http://{front.host}", ALIAS, key=key) as session:
            for alias in (ALIAS, PRIVATE):
                url = f"http://{front.host}/v2/{alias}/blobs/{layer}"
                answer = session.get(url, timeout=TIMEOUT)
                assert answer.status_code in (401, 403, 404)


def layer_of(front: Proxy) -> str:
    """Return the digest of a layer of the private image."""
    with logged_in(f"http://{front.host}", PRIVATE, key=KEYS["carol"]) as session:
        url = f"http://{front.host}/v2/{PRIVATE}/manifests/latest"
        answer: requests.Response = session.get(
            url, headers={"Accept": OCI_MANIFEST}, timeout=TIMEOUT
        )
        digest: str = answer.json()["layers"][-1]["digest"]
        return digest


def test_stick_of_skopeo(
    cloud: LocalCloud, front: Proxy, cache: Path, tmp_path: Path
) -> None:
    """What another tool writes, with a tag, is taken as well."""
    stick = tmp_path / "other"
    with Proxy(cloud.registry_url) as other:
        run(
            find_tool("skopeo"),
            *("--insecure-policy", "copy", "--src-tls-verify=false"),
            f"docker://{other.host}/{ALIAS}",
            f"oci:{stick}:2.3",
            environment={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
    command("prefetch", "--from", f"oci:{stick}", CACHE=str(cache))
    break_blobs(cloud)
    assert "Pulled 6.3 MB" in command("pull", f"{front.host}/{ALIAS}")


def test_running_proxy_notices_what_was_removed(
    cloud: LocalCloud, front: Proxy, cache: Path
) -> None:
    """A flipped bit is found while the proxy runs, and the blob is fetched anew."""
    reference = f"{front.host}/{ALIAS}"
    command("prefetch", reference)
    largest = max(cache.glob("blobs/sha256/*"), key=lambda path: path.stat().st_size)
    status, content = largest.stat(), bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    os.utime(largest, ns=(status.st_atime_ns, status.st_mtime_ns))
    said = command("cache", "check", status=1, CACHE=str(cache))
    assert said.startswith(f"sha256:{largest.name}: damaged, and removed\n")
    assert not largest.exists()
    before = asked(cloud)
    assert "Pulled 6.3 MB" in command("pull", reference)
    assert asked(cloud) > before
    assert "none damaged" in command("cache", "check", CACHE=str(cache))
    said = command("cache", "prune", "--to", "0", CACHE=str(cache))
    assert said.startswith("removed 6 blobs, 6.3 MB; kept 0 bytes of ")
    assert "Pulled 6.3 MB" in command("pull", reference)
    assert "6 blobs, 6.3 MB" in command("cache", CACHE=str(cache))
