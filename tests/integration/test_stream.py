"""Blobs go through as they come: with ranges, redirects, and in constant memory."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from demo.proxy import Proxy
from localcloud.relay import Failure, Fault, Relay
from serve import free_port
from tests.integration.client import Client, Skopeo
from tests.integration.registry import Installation, installed, serving
from tests.integration.session import TIMEOUT, logged_in, plain_session
from tests.integration.tool import ToolError, find_tool, listens, running, wait_until

ALIAS = "balenablocks/browser-aarch64/2.3.8"
LOCATION = "567e62d1e73529e7a31757ac1f3fb902"
LOG = "nginx-access.log"
BLOB_MEGABYTES = 192
GROWTH_MEGABYTES_MAX = 40


@contextmanager
def storing(tmp_path: Path) -> Iterator[int]:
    """Serve the registry's storage in the folder; yield the port."""
    port = free_port()
    log = tmp_path / LOG
    config = tmp_path / "nginx.conf"
    # The user is root, because the storage lies in a folder that is root's alone.
    config.write_text(f"""
        daemon off; user root; pid {tmp_path}/nginx.pid; error_log stderr;
        events {{}}
        http {{
          log_format seen '$request_uri $status [$http_authorization]';
          access_log {log} seen;
          client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;
          fastcgi_temp_path {tmp_path}/fcgi; uwsgi_temp_path {tmp_path}/uwsgi;
          scgi_temp_path {tmp_path}/scgi;
          server {{ listen 127.0.0.1:{port}; root {tmp_path}/storage; }}
        }}
    """)
    command: list[str | Path] = [find_tool("nginx"), "-c", config]
    with running(command, lambda: listens(port), log=tmp_path / "nginx.log"):
        yield port


@pytest.fixture(scope="module")
def redirecting(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Installation, str, Path]]:
    """A registry that answers blobs with 307, the storage's URL, and its log."""
    tmp_path = tmp_path_factory.mktemp("redirect")
    with storing(tmp_path) as port:
        url = f"http://localhost:{port}"
        with installed(tmp_path, redirect_to=url) as installation:
            yield installation, url, tmp_path / LOG


def test_storage_that_cannot_be_reached(skopeo: Skopeo, tmp_path: Path) -> None:
    """The client itself says so, as the storage is its own affair, and recovers."""
    with (
        storing(tmp_path) as port,
        Relay(port) as cable,
        installed(
            tmp_path, redirect_to=f"http://localhost:{cable.port}"
        ) as installation,
        Proxy(installation.url) as proxy,
    ):
        for broken in (cable.refuse, lambda: cable.fail(Fault(Failure.RESET))):
            broken()
            with pytest.raises(ToolError, match=f"localhost:{cable.port}"):
                skopeo.pull(f"{proxy.host}/{ALIAS}")
            cable.mend()
            pulled = skopeo.pull(f"{proxy.host}/{ALIAS}")
            assert pulled == installation.digest(LOCATION)


def first_layer(session: requests.Session, url: str, alias: str) -> tuple[str, int]:
    """Return digest and size of an image's last and largest layer."""
    accept = "application/vnd.oci.image.manifest.v1+json"
    answer = session.get(
        f"{url}/v2/{alias}/manifests/latest",
        headers={"Accept": accept},
        timeout=TIMEOUT,
    )
    layer = answer.json()["layers"][-1]
    return layer["digest"], layer["size"]


def test_redirect_passes_to_the_client(
    redirecting: tuple[Installation, str, Path],
) -> None:
    """The client gets the registry's 307, and the proxy does not follow it."""
    installation, storage, log = redirecting
    before = log.read_text()
    with Proxy(installation.url) as proxy:
        url = f"http://{proxy.host}"
        with logged_in(url, ALIAS) as session:
            digest, _ = first_layer(session, url, ALIAS)
            answer = session.get(
                f"{url}/v2/{ALIAS}/blobs/{digest}",
                allow_redirects=False,
                timeout=TIMEOUT,
            )
    assert answer.status_code == 307
    assert answer.headers["Location"].startswith(f"{storage}/docker/registry/v2/blobs/")
    assert log.read_text() == before


def test_client_follows_the_redirect_without_token(
    redirecting: tuple[Installation, str, Path], client: Client
) -> None:
    """Each client pulls from the storage, which never sees a token."""
    installation, _, log = redirecting
    with Proxy(installation.url) as proxy:
        digest = client.pull(f"{proxy.host}/{ALIAS}")
    assert digest == installation.digest(LOCATION)
    fetched = log.read_text().splitlines()
    assert fetched
    assert all(line.endswith("200 [-]") for line in fetched)


@pytest.mark.parametrize(
    ("wanted", "status", "first", "last"),
    [
        ("bytes=0-0", 206, 0, 0),
        ("bytes=100-199", 206, 100, 199),
        ("bytes=-50", 206, -50, -1),
        ("bytes=1000000-", 206, 1_000_000, -1),
    ],
)
def test_range_is_that_of_the_registry(
    proxy: Proxy, wanted: str, status: int, first: int, last: int
) -> None:
    """A part of a blob comes with its exact Content-Range and Content-Length."""
    url = f"http://{proxy.host}"
    with logged_in(url, ALIAS) as session:
        digest, size = first_layer(session, url, ALIAS)
        blob = f"{url}/v2/{ALIAS}/blobs/{digest}"
        whole = session.get(blob, timeout=TIMEOUT)
        part = session.get(blob, headers={"Range": wanted}, timeout=TIMEOUT)
    first, last = first % size, last % size
    assert part.status_code == status
    assert part.content == whole.content[first : last + 1]
    assert part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    assert int(part.headers["Content-Length"]) == last + 1 - first
    assert whole.headers["Docker-Content-Digest"] == digest


def test_range_beyond_the_end(proxy: Proxy) -> None:
    """A range that has nothing is 416 in words, though the registry breaks off."""
    url = f"http://{proxy.host}"
    with logged_in(url, ALIAS) as session:
        digest, size = first_layer(session, url, ALIAS)
        answer = session.get(
            f"{url}/v2/{ALIAS}/blobs/{digest}",
            headers={"Range": f"bytes={size + 10}-"},
            timeout=TIMEOUT,
        )
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    (error,) = answer.json()["errors"]
    assert error["message"].startswith(
        f"no byte is in the range 'bytes={size + 10}-': the length is {size} bytes"
    )
    # The log has its line once the registry has broken off as well.
    line = re.compile(rf".*\[{answer.headers['X-Request-Id'][:8]}\]")
    wait_until(lambda: line.search(proxy.log) is not None, "a line in the log")
    assert ": 416 UNSUPPORTED, no byte" in str(line.findall(proxy.log))


def test_head_of_a_blob(proxy: Proxy) -> None:
    """HEAD tells size and digest, and has no body."""
    url = f"http://{proxy.host}"
    with logged_in(url, ALIAS) as session:
        digest, size = first_layer(session, url, ALIAS)
        answer = session.head(f"{url}/v2/{ALIAS}/blobs/{digest}", timeout=TIMEOUT)
    assert answer.status_code == 200
    assert int(answer.headers["Content-Length"]) == size
    assert answer.headers["Docker-Content-Digest"] == digest


def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    """A blob larger than the proxy goes through it, and nothing of it stays."""
    with installed(tmp_path) as installation, Proxy(installation.url) as proxy:
        digest = push_blob(installation)
        url = f"http://{proxy.host}"
        with logged_in(url, ALIAS) as session:
            first_layer(session, url, ALIAS)
            before = peak_megabytes(proxy.process.pid)
            read = hashlib.sha256()
            with session.get(
                f"{url}/v2/{ALIAS}/blobs/{digest}", stream=True, timeout=TIMEOUT
            ) as answer:
                for chunk in answer.iter_content(1 << 20):
                    read.update(chunk)
        assert f"sha256:{read.hexdigest()}" == digest
        assert peak_megabytes(proxy.process.pid) - before < GROWTH_MEGABYTES_MAX


def push_blob(installation: Installation) -> str:
    """Put a large blob of zeros at the location, and return its digest."""
    megabyte = bytes(1 << 20)
    sha256 = hashlib.sha256()
    for _ in range(BLOB_MEGABYTES):
        sha256.update(megabyte)
    digest = f"sha256:{sha256.hexdigest()}"
    port = free_port()
    with (
        serving(installation.storage.parent, port, {}),
        plain_session() as session,
    ):
        url = f"http://localhost:{port}/v2/v2/{LOCATION}/blobs/uploads/"
        begun = session.post(url, timeout=TIMEOUT)
        session.put(
            begun.headers["Location"],
            params={"digest": digest},
            data=(megabyte for _ in range(BLOB_MEGABYTES)),
            timeout=TIMEOUT,
        ).raise_for_status()
    return digest


def peak_megabytes(pid: int) -> int:
    """Return the most memory that the process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kilobytes,) = (
        line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")
    )
    return int(kilobytes) // 1024
