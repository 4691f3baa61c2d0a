"""What tags cost registry and API, and where content is found by its digest."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing

import pytest

from demo.proxy import Proxy
from localcloud import LocalCloud
from localcloud.image import digest_of
from resolver.token.answer import HEADER_LENGTH_MAX
from resolver.token.cache import ResolutionCache
from resolver.token.claims import parse_token, pullable_names
from resolver.token.request import parse_token_query
from resolver.token.service import TokenService
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Transport, Verification
from tests.integration.session import get_token
from tests.integration.visitor import visiting

BROWSER = "balenablocks/browser-aarch64"
SECOND_REVISION = "v2/afcf4e176ef8e94685a9ded8ce9c68b4"
NAME, MANY = "org/many", 70
"""An application, and its releases; more than fit into a token."""


@pytest.fixture(scope="module")
def url(cloud: LocalCloud) -> Iterator[str]:
    """A proxy whose tags select, which has asked the registry for its API."""
    cloud.add_application(NAME)
    for number in range(MANY):
        cloud.add_release(NAME, f"1.{number}.0", is_target=number == MANY // 2)
    with Proxy(cloud.registry_url) as proxy:
        get_token(f"http://{proxy.host}")
        yield f"http://{proxy.host}"


def asked(cloud: LocalCloud, digest: str) -> list[str]:
    """Return what the registry was asked of the digest."""
    assert cloud.registry
    lines = [f"{r.method} {r.path}" for r in cloud.registry.requests]
    return [line for line in lines if digest in line]


def blobs_of(manifest: bytes) -> list[str]:
    """Return the digests of what an image consists of."""
    payload = json.loads(manifest)
    return [payload["config"]["digest"], *(one["digest"] for one in payload["layers"])]


def test_manifest_tells_where_its_blobs_are(cloud: LocalCloud, url: str) -> None:
    """At the replica that passed a manifest on, nothing has to be looked for."""
    with visiting(url, BROWSER) as visitor:
        manifest = visitor.ask("GET", "manifests/2.3.8_rev1")
        for digest in blobs_of(manifest.content):
            answer = visitor.ask("GET", f"blobs/{digest}")
            assert digest_of(answer.content) == digest
            line = f"GET /v2/{SECOND_REVISION}/blobs/{digest}"
            assert asked(cloud, digest) == [line]


def test_what_another_replica_passed_on(cloud: LocalCloud, url: str) -> None:
    """It is looked for once, and then nearby."""
    location = "v2/7e2b9c174f62040a5d3b29f7ef23fe18"
    wanted = next(i.digest for i in cloud.images if i.repository == location)
    assert cloud.registry
    cloud.registry.requests.clear()
    with visiting(url, BROWSER) as visitor:
        visitor.token = get_token(url, BROWSER)
        manifest = visitor.ask("GET", f"manifests/{wanted}")
        assert digest_of(manifest.content) == wanted
        heads = [line for line in asked(cloud, wanted) if line.startswith("HEAD")]
        assert 1 < len(heads) == len(set(heads)) <= 19
        for digest in blobs_of(manifest.content):
            answer = visitor.ask("GET", f"blobs/{digest}")
            assert digest_of(answer.content) == digest
            assert len(asked(cloud, digest)) == 1


def test_release_beyond_the_list(url: str) -> None:
    """Another token is asked for, and then what it names is found as well."""
    token = get_token(url, NAME)
    with visiting(url, NAME) as visitor:
        for tag in ("1.69", "1.55.0", "1.35.0", "latest"):
            visitor.token = token
            assert visitor.ask("GET", f"manifests/{tag}").ok
            assert visitor.token == token
        manifest = visitor.ask("GET", "manifests/1.7")
        assert visitor.token != token
        for digest in blobs_of(manifest.content):
            assert visitor.ask("GET", f"blobs/{digest}").ok


@pytest.mark.parametrize(("count", "kept"), {1: 1, 5: 5, 20: 20, 60: 36}.items())
@pytest.mark.usefixtures("url")
def test_token_fits_into_a_header(cloud: LocalCloud, count: int, kept: int) -> None:
    """As many of the releases asked for are in the token as there is room for."""
    cloud.requests.clear()
    with closing(Transport(Verification())) as transport:
        upstream = Upstream(cloud.registry_url, None, transport)
        cache = ResolutionCache(300)
        with closing(TokenService(upstream, cache, timeout=10, tags=count)) as service:
            request = parse_token_query(f"scope=repository:{NAME}:pull", None)
            issued = asyncio.run(service.answer(request))
    text = json.loads(issued.body)["token"]
    assert len(f"Authorization: Bearer {text}") <= HEADER_LENGTH_MAX
    token = parse_token(text)
    locations = token.aliases.candidates[NAME].locations
    assert len(locations) == len(pullable_names(token.jwt) or ()) == kept
    # Where the target release is further down, its version is looked up as well.
    beside = ["/v7/release"] if count <= MANY // 2 else []
    paths = [request.path for request in cloud.requests]
    assert paths == ["/v7/application", *beside, "/auth/v1/token"]
