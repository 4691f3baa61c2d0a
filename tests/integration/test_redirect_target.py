"""Where the proxy follows no redirect to, and what of a redirect nobody sees."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.server import Response
from tests.integration.blob import blob_of, following
from tests.integration.fault import port_of


@pytest.fixture(scope="module")
def signing() -> Iterator[LocalCloud]:
    """A registry whose redirects are signed, and the storage that checks them."""
    with LocalCloud(redirect_blobs=True) as running:
        yield running


@pytest.fixture(scope="module")
def front(signing: LocalCloud) -> Iterator[Proxy]:
    """The proxy in front of it."""
    with following(signing.registry_url) as running:
        yield running


@pytest.fixture
def lead(signing: LocalCloud) -> Iterator[Callable[[str], None]]:
    """Let the registry redirect blobs there, and as usual after the test."""
    registry = signing.registry
    assert registry is not None

    def redirect(location: str) -> None:
        registry.interpose = lambda request: (
            Response(307, (("Location", location),))
            if "/blobs/" in request.target
            else None
        )

    yield redirect
    registry.interpose = None


def test_signature_is_not_written(signing: LocalCloud, tmp_path: Path) -> None:
    """Neither log nor saved flows have a URL with which the blob could be had (T7)."""
    saved = tmp_path / "flows"
    loud = ("--set", "termlog_verbosity=debug", "--flow-detail", "4")
    arguments = (*loud, "-w", str(saved))
    assert signing.storage is not None
    with following(signing.registry_url, *arguments) as proxy:
        with blob_of(proxy) as blob:
            for _ in range(4):
                assert blob.is_whole(blob.ask())
            blob.ask(Range=f"bytes={blob.size}-")
        log = proxy.log
    flows = saved.read_bytes()
    signatures = {
        one.target.partition("Signature=")[2] for one in signing.storage.requests
    }
    assert len(signatures) >= 1
    for signature in signatures:
        assert signature
        assert signature not in log
        assert signature.encode() not in flows
    assert b"data?[redacted]" in flows


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://10.0.0.1/x", "10.0.0.1 is not on the internet"),
        ("http://localhost:{port}/x", "localhost, which is "),
        ("http://[::ffff:127.0.0.1]:{port}/x", "::ffff:127.0.0.1 is not on"),
        ("http://0x7f.1:{port}/x", "neither a name nor an address"),
        ("http://user:pass@127.0.0.1:{port}/x", "has a login in it"),
        ("ftp://127.0.0.1:{port}/x", "neither https nor http"),
    ],
)
def test_redirect_that_is_not_followed(
    signing: LocalCloud,
    front: Proxy,
    lead: Callable[[str], None],
    location: str,
    said: str,
) -> None:
    """The client gets 502 that names no address, and nobody is sent a request (T11)."""
    assert signing.storage is not None
    lead(location.format(port=port_of(signing.storage_url)) + "?Signature=secret")
    before = len(signing.storage.requests)
    with blob_of(front) as blob:
        answer = blob.ask()
        head = blob.ask("HEAD")
    assert (answer.status_code, head.status_code, head.content) == (502, 502, b"")
    assert answer.json()["errors"][0]["code"] == "UNAVAILABLE"
    assert "Location" not in answer.headers
    del answer.headers["X-Request-Id"]  # Which has any digits in it.
    told = answer.text + str(answer.headers)
    assert not [part for part in ("127", "10.0", "169", "::", "secret") if part in told]
    (reason,) = {
        line.partition("a redirect of a blob is not followed: ")[2]
        for line in front.log.splitlines()[-4:]
        if "is not followed" in line
    }
    assert said in reason
    assert "secret" not in front.log
    assert "pass@" not in front.log
    assert len(signing.storage.requests) == before


def test_circle_of_redirects(
    signing: LocalCloud, front: Proxy, lead: Callable[[str], None]
) -> None:
    """A row of redirects has an end, and the client an answer (T11)."""
    with blob_of(front) as blob:
        lead(f"{signing.registry_url}/v2/again/blobs/x?Signature=secret")
        assert blob.ask().status_code == 502
    assert "more than 4 in a row" in front.log
