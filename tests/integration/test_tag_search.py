"""What tags cost registry and API, and where content is found by its digest."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256

import pytest
import requests

from demo.proxy import Proxy
from localcloud import LocalCloud
from resolver.token.answer import HEADER_LENGTH_MAX
from resolver.token.cache import ResolutionCache
from resolver.token.claims import parse_token, pullable_names
from resolver.token.service import TokenService, parse_token_query
from resolver.upstream.registry import Upstream
from resolver.upstream.transport import Transport, Verification
from tests.integration.session import TIMEOUT, get_token, plain_session

BROWSER = "balenablocks/browser-aarch64"
TYPES = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in ("oci.image.manifest.v1", "docker.distribution.manifest.v2")
)
IGNORE = {"TAGS": "ignore"}
NEWEST_REVISION = "v2/567e62d1e73529e7a31757ac1f3fb902"
SECOND_REVISION = "v2/afcf4e176ef8e94685a9ded8ce9c68b4"
CLASSIC = "docker/20.10.24 go/go1.19.8 UpstreamClient(Docker-Client/20.10.24)"
MANY = 70
"""Releases; more than fit into a token."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A cloud, replicas whose tags select, and one whose tags do not."""

    cloud: LocalCloud
    one: Proxy
    other: Proxy
    plain: Proxy

    def asked(self, digest: str = "") -> list[str]:
        """Return what the registry was asked, of the digest or of anything.

        Other locations may still be asked when something is found.
        """
        assert self.cloud.registry
        lines = [f"{r.method} {r.path}" for r in self.cloud.registry.requests]
        return [line for line in lines if digest in line]

    def asked_of_api(self) -> list[str]:
        """Return what the API was asked, and forget it."""
        paths = [request.path for request in self.cloud.requests]
        self.cloud.requests.clear()
        return paths


@pytest.fixture(scope="module")
def scene(cloud: LocalCloud) -> Iterator[Scene]:
    """All of them, and each has asked the registry for its API."""
    many = cloud.add_application("org/many")
    for number in range(MANY):
        cloud.add_release("org/many", f"1.{number}.0", is_target=number == MANY // 2)
    assert many
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(Proxy(cloud.registry_url, environment=variables))
            for variables in ({}, {}, IGNORE)
        ]
        for proxy in proxies:
            get_token(f"http://{proxy.host}")
        yield Scene(cloud, *proxies)


@pytest.fixture(autouse=True)
def forgotten(scene: Scene) -> None:
    """Let each test count from nothing."""
    assert scene.cloud.registry
    scene.cloud.registry.requests.clear()
    scene.cloud.requests.clear()


def get(
    proxy: Proxy, path: str, token: str | None, method: str = "GET", agent: str = ""
) -> requests.Response:
    """Return the proxy's answer."""
    with plain_session() as session:
        session.headers.update({"Accept": TYPES, "User-Agent": agent})
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        url = f"http://{proxy.host}/v2/{path}"
        return session.request(method, url, timeout=TIMEOUT, allow_redirects=False)


def token_of(proxy: Proxy, *names: str, key: str | None = None) -> str:
    """Return the token that the proxy issues."""
    return get_token(f"http://{proxy.host}", *names, key=key)


def digest_of(data: bytes) -> str:
    """Return the digest of some bytes."""
    return f"sha256:{sha256(data).hexdigest()}"


def digest_at(scene: Scene, repository: str) -> str:
    """Return the digest of the manifest stored there."""
    (image,) = (i for i in scene.cloud.images if i.repository == repository)
    return image.digest


def error_of(answer: requests.Response) -> tuple[int, str]:
    """Return status and code of an OCI error."""
    return answer.status_code, answer.json()["errors"][0]["code"]


def blobs_of(manifest: bytes) -> list[str]:
    """Return the digests of what an image consists of."""
    payload = json.loads(manifest)
    return [payload["config"]["digest"], *(one["digest"] for one in payload["layers"])]


def test_token_costs_two_requests(scene: Scene) -> None:
    """One finds the releases and one issues the token; remembered is the first."""
    token = token_of(scene.one, "otherorg/tracker")
    assert scene.asked_of_api() == ["/v7/application", "/auth/v1/token"]
    assert token_of(scene.one, "otherorg/tracker") != token
    assert scene.asked_of_api() == ["/auth/v1/token"]


def test_target_is_asked_for_first(scene: Scene) -> None:
    """The API is asked for all locations at once, the target release's first."""
    token_of(scene.one, BROWSER)
    (asked,) = (r for r in scene.cloud.requests if r.path == "/auth/v1/token")
    scopes = re.findall("scope=repository%3A(v2%2F[0-9a-f]{32})%3Apull", asked.query)
    assert scopes[0] == NEWEST_REVISION.replace("/", "%2F")
    assert len(scopes) == len(set(scopes)) == 16


def test_manifest_tells_where_its_blobs_are(scene: Scene) -> None:
    """At the replica that passed a manifest on, nothing has to be looked for."""
    token = token_of(scene.one, BROWSER)
    manifest = get(scene.one, f"{BROWSER}/manifests/2.3.8_rev1", token)
    for digest in blobs_of(manifest.content):
        answer = get(scene.one, f"{BROWSER}/blobs/{digest}", token)
        assert digest_of(answer.content) == digest
        assert scene.asked(digest) == [f"GET /v2/{SECOND_REVISION}/blobs/{digest}"]


def test_other_replica_asks_the_registry(scene: Scene) -> None:
    """What another replica passed on is looked for once, and then nearby."""
    token = token_of(scene.one, BROWSER)
    wanted = digest_at(scene, "v2/7e2b9c174f62040a5d3b29f7ef23fe18")
    manifest = get(scene.other, f"{BROWSER}/manifests/{wanted}", token)
    assert digest_of(manifest.content) == wanted
    heads = [line for line in scene.asked(wanted) if line.startswith("HEAD")]
    assert 1 < len(heads) == len(set(heads)) <= 19
    for digest in blobs_of(manifest.content):
        answer = get(scene.other, f"{BROWSER}/blobs/{digest}", token)
        assert digest_of(answer.content) == digest
        assert len(scene.asked(digest)) == 1


def test_blob_without_its_manifest(scene: Scene) -> None:
    """After a restart each blob is found, the second one where the first one was."""
    (image,) = (i for i in scene.cloud.images if i.repository == SECOND_REVISION)
    blobs = [blob.digest for blob in image.blobs]
    token = token_of(scene.one, BROWSER)
    with Proxy(scene.cloud.registry_url) as fresh:
        for number, digest in enumerate(blobs):
            answer = get(fresh, f"{BROWSER}/blobs/{digest}", token)
            assert digest_of(answer.content) == digest
            asked = scene.asked(digest)
            assert f"GET /v2/{SECOND_REVISION}/blobs/{digest}" in asked
            assert len(asked) == 2 if number else len(asked) > 2


@pytest.mark.parametrize("kind", ["blobs", "manifests"])
def test_what_no_release_has(scene: Scene, kind: str) -> None:
    """The registry says itself that it is not there, and another's is not shown."""
    token = token_of(scene.one, BROWSER)
    foreign = digest_at(scene, "v2/c94c117e5e15b559a011f53a01bf3a14")
    answer = get(scene.one, f"{BROWSER}/{kind}/{foreign}", token)
    code = "BLOB_UNKNOWN" if kind == "blobs" else "MANIFEST_UNKNOWN"
    assert error_of(answer) == (404, code)
    assert "v2/" not in answer.text


def test_log_names_the_release_at_any_replica(scene: Scene) -> None:
    """The token itself says which release a tag selected."""
    token = token_of(scene.one, BROWSER)
    get(scene.other, f"{BROWSER}/manifests/2.3.8_rev1", token)
    assert f"manifest 2.3.8_rev1 of {BROWSER}: 200, release 2.3.8+rev1" in (
        scene.other.log
    )
    assert f"{BROWSER} is 2.3.8+rev2 (commit b4b201f)" in scene.one.log
    assert "19 to select by tag, cache" in scene.one.log


def test_application_without_target(scene: Scene) -> None:
    """Tags select where there is no target release, and `latest` is refused."""
    slug = "org/loose"
    scene.cloud.add_application(slug)
    scene.cloud.add_release(slug, "1.0.0")
    scene.cloud.add_release(slug, "1.1.0", image_status="failed")
    token = token_of(scene.one, slug)
    assert get(scene.one, f"{slug}/manifests/1", token).status_code == 200
    for tag in ("latest", "1.1.0"):
        answer = get(scene.one, f"{slug}/manifests/{tag}", token, agent=CLASSIC)
        assert error_of(answer) == (404, "MANIFEST_UNKNOWN")
        assert "its newest is 1.0.0" in answer.text
    assert get(scene.one, f"{slug}/tags/list", token).json()["tags"] == ["1.0.0"]


def issue(scene: Scene, count: int, *names: str) -> str:
    """Return the token where tags select among so many releases."""
    transport = Transport(Verification())
    upstream = Upstream(scene.cloud.registry_url, None, transport)
    cache = ResolutionCache(300)
    service = TokenService(upstream, cache, timeout=10, tags=count)
    scopes = "&".join(f"scope=repository:{name}:pull" for name in names)
    try:
        answer = asyncio.run(service.answer(parse_token_query(scopes, None)))
    finally:
        service.close()
        transport.close()
    token: str = json.loads(answer.body)["token"]
    return token


SIZES = {1: 1, 5: 5, 20: 20, 36: 36, 60: 36}
"""How many releases are asked for, and how many there is room for."""


@pytest.mark.parametrize(("count", "kept"), SIZES.items())
def test_token_fits_into_a_header(scene: Scene, count: int, kept: int) -> None:
    """As many releases as there is room for are in the token, in one request."""
    token = issue(scene, count, "org/many")
    assert len(f"Authorization: Bearer {token}") <= HEADER_LENGTH_MAX
    many = parse_token(token).aliases.candidates["org/many"]
    assert len(many.locations) == kept
    assert len(many.locations) == len(pullable_names(parse_token(token).jwt) or ())
    # Where the target release is further down, its version is looked up as well.
    beside = ["/v7/release"] if count <= MANY // 2 else []
    assert scene.asked_of_api() == ["/v7/application", *beside, "/auth/v1/token"]


def test_release_beyond_the_list(scene: Scene) -> None:
    """Another token is asked for, or where that is not done, the path is told."""
    many = "org/many"
    token = token_of(scene.one, many)
    for tag in ("1.69", "1.55.0", "1.35.0", "latest"):
        assert get(scene.one, f"{many}/manifests/{tag}", token).status_code == 200, tag
    for tag in ("1.7", "1.35", "9"):
        answer = get(scene.one, f"{many}/manifests/{tag}", token)
        assert error_of(answer) == (401, "UNAUTHORIZED")
        challenge = answer.headers["WWW-Authenticate"]
        scope = f'scope="repository:{many}/{tag}:pull",error="insufficient_scope"'
        assert challenge.endswith(scope)
        classic = get(scene.one, f"{many}/manifests/{tag}", token, agent=CLASSIC)
        assert error_of(classic) == (404, "MANIFEST_UNKNOWN")
        for refused in (answer, classic):
            assert "among the 20 that tags find" in refused.text
            assert f"any other is pulled as {many}/{tag}" in refused.text
    token = token_of(scene.one, many, f"{many}/1.7")
    for proxy in (scene.one, scene.other):
        answer = get(proxy, f"{many}/manifests/1.7", token)
        assert answer.status_code == 200
        for digest in blobs_of(answer.content):
            assert get(proxy, f"{many}/blobs/{digest}", token).status_code == 200
    assert get(scene.one, f"{many}/1.7/manifests/latest", token).status_code == 200
