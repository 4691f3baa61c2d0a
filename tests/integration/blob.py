"""A blob behind a proxy that follows redirects, and whoever asks for it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from demo.proxy import Proxy
from localcloud.server import Server
from registry_proxy.port import free_port
from tests.integration.fault import ALIAS, LOCATION
from tests.integration.registry import Installation, serving
from tests.integration.session import TIMEOUT, logged_in, plain_session

FOLLOW = {"BLOBS": "follow"}
BLOB_MEGABYTES = 64
"""How large the blob of `push_blob` is."""


@contextmanager
def following(url: str, *arguments: str, **variables: str) -> Iterator[Proxy]:
    """Run a proxy that follows."""
    with Proxy(url, environment=FOLLOW | variables, arguments=arguments) as running:
        yield running


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


class Blob:
    """A blob behind a proxy, and whoever may pull it."""

    def __init__(self, proxy: Proxy, session: requests.Session) -> None:
        self.session = session
        self.digest, self.size = first_layer(session, f"http://{proxy.host}", ALIAS)
        self.url = f"http://{proxy.host}/v2/{ALIAS}/blobs/{self.digest}"

    def ask(self, method: str = "GET", **headers: str) -> requests.Response:
        """Return the answer to a request for it, whatever that is."""
        return self.session.request(
            method,
            self.url,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            allow_redirects=False,
            timeout=TIMEOUT,
        )

    def is_whole(self, answer: requests.Response) -> bool:
        """Return whether it has come, byte by byte."""
        return f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == self.digest


@contextmanager
def blob_of(proxy: Proxy) -> Iterator[Blob]:
    """Return a blob, with a token for it."""
    with logged_in(f"http://{proxy.host}", ALIAS) as session:
        yield Blob(proxy, session)


def blob_requests(server: Server) -> int:
    """Return how many of the requests that a server saw are for a blob."""
    return sum("/blobs/" in request.target for request in server.requests)


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
