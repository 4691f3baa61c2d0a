"""A blob behind a proxy that follows redirects, and whoever asks for it."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import requests

from demo.proxy import Proxy
from localcloud.server import Request
from tests.integration.session import TIMEOUT, logged_in
from tests.integration.test_stream import first_layer

ALIAS = "balenablocks/browser-aarch64/2.3.8"
LOCATION = "567e62d1e73529e7a31757ac1f3fb902"
FOLLOW = {"BLOBS": "follow"}


@contextmanager
def following(url: str, *arguments: str, **variables: str) -> Iterator[Proxy]:
    """Run a proxy that follows."""
    with Proxy(url, environment=FOLLOW | variables, arguments=arguments) as running:
        yield running


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


def blob_requests(seen: Iterable[Request]) -> int:
    """Return how many of the requests are for a blob."""
    return sum("/blobs/" in request.target for request in seen)
