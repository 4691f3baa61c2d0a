"""Proxies with a cache of blobs, made-up blobs, and who was asked for them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.content import serve_content
from localcloud.server import Request, Response, Server
from tests.integration.blob import blob_requests
from tests.integration.session import TIMEOUT

OCTETS = ("Content-Type", "application/octet-stream")


def caching(url: str, folder: Path, *arguments: str, **variables: str) -> Proxy:
    """Return a proxy with a cache in this folder."""
    variables = {"CACHE": str(folder), "CACHE_SIZE": "2GB", **variables}
    return Proxy(url, environment=variables, arguments=arguments)


def servers(cloud: LocalCloud) -> list[Server]:
    """Return who sends blobs, and who says where they are."""
    return [server for server in (cloud.registry, cloud.storage) if server]


def asked(cloud: LocalCloud) -> int:
    """Return how many requests for blobs there were."""
    return sum(map(blob_requests, servers(cloud)))


def kept(folder: Path, digest: str) -> Path:
    """Return where the blob is in a cache, if it is there."""
    return folder.joinpath("blobs", *digest.split(":"))


def partial(folder: Path) -> list[Path]:
    """Return what is being written."""
    return list((folder / "partial").iterdir())


def digest_of(content: bytes) -> str:
    """Return the digest of a blob."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def made_up(seed: str, size: int) -> bytes:
    """Return bytes that are like no others."""
    return hashlib.shake_128(seed.encode()).digest(size)


@dataclass(slots=True)
class Shelf:
    """Blobs that a server has beside its own, and may be told to send otherwise."""

    server: Server
    contents: dict[str, bytes] = field(default_factory=dict)
    odd: Callable[[Request, bytes], Response | None] | None = None
    """What it answers to a request for one of them; None is the usual answer."""

    def __post_init__(self) -> None:
        """Take its place before the server."""
        self.server.interpose = self._answer

    def add(self, content: bytes) -> str:
        """Take in a blob, and return its digest."""
        digest = digest_of(content)
        self.contents[digest] = content
        return digest

    def ranges(self, digest: str) -> list[str | None]:
        """Return which parts of a blob it was asked for, in this order.

        Whether somebody may have it is asked with its first byte.
        """
        return [
            request.header("Range")
            for request in self.server.requests
            if digest in request.target
        ]

    def fetches(self, digest: str) -> int:
        """Return how often the blob was asked for, and not only its first byte."""
        return sum(each != "bytes=0-0" for each in self.ranges(digest))

    def _answer(self, request: Request) -> Response | None:
        digest = request.path.rpartition("/")[2]
        content = self.contents.get(digest)
        if content is None:
            return None
        response = self.odd(request, content) if self.odd else None
        headers = (OCTETS, ("Docker-Content-Digest", digest), ("Etag", f'"{digest}"'))
        return response or serve_content(request, content, headers)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw of a blob."""

    status: int
    body: bytes
    is_complete: bool
    """Whether the transfer came to its end."""

    def is_whole(self, digest: str) -> bool:
        """Return whether it is the blob, and the client thinks so as well."""
        is_right = digest_of(self.body) == digest
        return self.is_complete and self.status == requests.codes.ok and is_right


def see(answer: requests.Response) -> Seen:
    """Read an answer to its end, whatever that is."""
    body = bytearray()
    try:
        for piece in answer.iter_content(1 << 16):
            body += piece
    except requests.RequestException:
        return Seen(answer.status_code, bytes(body), is_complete=False)
    return Seen(answer.status_code, bytes(body), is_complete=True)


def pull(session: requests.Session, url: str, **headers: str) -> Seen:
    """Return what a client sees that asks for a blob."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Accept-Encoding": "identity", **names}
    with session.get(url, headers=sent, timeout=TIMEOUT, stream=True) as answer:
        return see(answer)
