"""What the OCI distribution specification asks of pull, by its sentences.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, of version 1.1
and of the main branch. It holds in every mode, with docker-registry behind the proxy.
What is refused before the registry is asked, `tests/golden` has.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import requests

from demo.proxy import Proxy
from localcloud.image import OCI_INDEX, OCI_MANIFEST, Image, Manifest, digest_of
from localcloud.image import descriptor as descriptor_of
from tests.integration.raw import BYE, HOST, send
from tests.integration.registry import Installation, installed, seed
from tests.integration.storage import storing
from tests.integration.visitor import Visitor, visiting

SLUG = "balenablocks/browser-aarch64"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
"""Where 2.3.8+rev2 is stored, the target release."""
ABSENT = "sha256:" + "0" * 64
OTHER, OTHER_LOCATION = "2.3.8_rev1", "v2/afcf4e176ef8e94685a9ded8ce9c68b4"
"""A release that only its own version selects."""
ALGORITHMS = {"sha256": 64, "sha512": 128, "blake3": 64}
"""The registered ones, blake3 on the main branch, and how long they are in hex."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to name the image, to a proxy with these variables."""

    name: str
    tag: str
    variables: Mapping[str, str]
    is_redirected: bool = False
    """Whether the registry redirects blobs to a storage."""

    @property
    def leads_away(self) -> bool:
        """Whether a client gets blobs from the storage itself."""
        return self.is_redirected and "BLOBS" not in self.variables


_SELECT = {"TAGS": "select"}
_FOLLOW = {"BLOBS": "follow", "BLOBS_ALLOW": "127.0.0.1/32,::1/128"}
MODES = {
    "path": Mode(f"{SLUG}/2.3.8", "latest", _SELECT),
    "tag ignored": Mode(SLUG, "latest", {"TAGS": "ignore"}),
    "tag selects": Mode(SLUG, "2.3.8", _SELECT),
    "blobs redirected": Mode(SLUG, "2.3.8", _SELECT, is_redirected=True),
    "blobs followed": Mode(
        f"{SLUG}/2.3.8", "latest", _SELECT | _FOLLOW, is_redirected=True
    ),
}

type Installations = Mapping[bool, Installation]
"""By whether blobs are redirected."""


def artifact_tags(digest: str) -> list[str]:
    """Return tags of what refers to a manifest, by its digests of each algorithm.

    What the digests of other algorithms are plays no part, as long as they are others.
    """
    own = digest.partition(":")[2]
    other = own[::-1]
    return [f"sha256-{own}", f"sha256-{own}.sig", f"sha512-{other}", f"blake3-{other}"]


def image_at(location: str, installation: Installation) -> Image:
    """Return the image that is stored there."""
    (image,) = (i for i in installation.cloud.images if i.repository == location)
    return image


def manifest_at(location: str, installation: Installation) -> Manifest:
    """Return its manifest."""
    return next(m for m in image_at(location, installation).manifests if m.tag)


def attached(location: str, installation: Installation) -> Image:
    """Return an index for each tag, which refers to the image that is stored there."""
    subject = manifest_at(location, installation)
    manifests = []
    for tag in artifact_tags(subject.digest):
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [descriptor_of(subject)],
            "annotations": {"tag": tag},
        }
        content = json.dumps(index).encode()
        digest = digest_of(content)
        manifests.append(Manifest(location, tag, OCI_INDEX, content, digest))
    return Image(location, tuple(manifests), ())


@pytest.fixture(scope="module")
def installations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installations]:
    """A registry that sends blobs itself, and one that redirects to a storage."""
    with ExitStack() as stack:
        made = {}
        for is_redirected in (False, True):
            folder = tmp_path_factory.mktemp("specification")
            url = None
            if is_redirected:
                port = stack.enter_context(storing(folder)).port
                url = f"http://localhost:{port}"
            running = stack.enter_context(installed(folder, redirect_to=url))
            seed(
                (attached(each, running) for each in (LOCATION, OTHER_LOCATION)), folder
            )
            made[is_redirected] = running
        yield made


@dataclass(frozen=True, slots=True)
class Scene:
    """A mode, the image that it serves, and a client."""

    mode: Mode
    installation: Installation
    proxy: Proxy
    visitor: Visitor
    manifest: Manifest
    blob: bytes

    def path(self, path: str) -> str:
        """Return the path with what its names in braces stand for."""
        return path.format(
            tag=self.mode.tag,
            digest=self.manifest.digest,
            blob=digest_of(self.blob),
            absent=ABSENT,
        )

    def ask(self, method: str, path: str, **headers: str) -> requests.Response:
        """Return the answer to a request below the repository."""
        return self.visitor.ask(method, self.path(path), **headers)


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def scene(
    request: pytest.FixtureRequest, installations: Installations
) -> Iterator[Scene]:
    """Each mode in turn."""
    mode: Mode = request.param
    installation = installations[mode.is_redirected]
    image = image_at(LOCATION, installation)
    blob = max((each.content for each in image.blobs), key=len)
    with (
        Proxy(installation.url, environment=mode.variables) as proxy,
        visiting(f"http://{proxy.host}", mode.name) as visitor,
    ):
        manifest = manifest_at(LOCATION, installation)
        yield Scene(mode, installation, proxy, visitor, manifest, blob)


BY_TAG, BY_DIGEST, BLOB = "manifests/{tag}", "manifests/{digest}", "blobs/{blob}"


@pytest.mark.parametrize("path", [BY_TAG, BY_DIGEST, f"{BY_TAG}?ns=docker.io", BLOB])
def test_pull(scene: Scene, path: str) -> None:
    """What is found MUST be 200, and HEAD says the same of it."""
    content = scene.blob if path == BLOB else scene.manifest.content
    expected = {"Content-Length": str(len(content))}
    if path != BLOB:
        expected["Content-Type"] = scene.manifest.media_type
    if path != BLOB or not scene.mode.leads_away:
        expected["Docker-Content-Digest"] = digest_of(content)
    for method, body in (("GET", content), ("HEAD", b"")):
        answer = scene.ask(method, path)
        assert (answer.status_code, answer.content) == (200, body)
        assert {name: answer.headers.get(name) for name in expected} == expected


ERRORS = {
    "manifests/{absent}": (404, "MANIFEST_UNKNOWN"),
    "blobs/{absent}": (404, "BLOB_UNKNOWN"),
    # docker-registry has no such API, and says so in plain text.
    "referrers/{digest}": (404, ""),
    "referrers/sha256:0f": (400, "NAME_INVALID"),
    "blobs/latest": (400, "NAME_INVALID"),
    f"manifests/{'a' * 129}": (400, "NAME_INVALID"),
}


@pytest.mark.parametrize("path", ERRORS)
def test_error(scene: Scene, path: str) -> None:
    """What is not found MUST be 404, with the code that is for it."""
    status, code = ERRORS[path]
    answer = scene.ask("GET", path)
    assert answer.status_code == scene.ask("HEAD", path).status_code == status
    if code:
        (error,) = answer.json()["errors"]
        assert error["code"] == code


@pytest.mark.parametrize("path", [BY_TAG, BLOB, "manifests/{absent}", "blobs/{absent}"])
def test_head_has_no_body(scene: Scene, path: str) -> None:
    """A HEAD request never gets a body, whatever the answer says of its length."""
    scene.ask("HEAD", path)
    line = f"HEAD /v2/{scene.mode.name}/{scene.path(path)} HTTP/1.1\r\n"
    login = f"Authorization: Bearer {scene.visitor.token}\r\n"
    accept = f"Accept: {OCI_MANIFEST}\r\n"
    answer = send(scene.proxy, f"{line}{login}{accept}".encode() + HOST + BYE)
    assert answer.partition(b"\r\n\r\n")[2] == b""


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=100-199": (100, 200),
    "bytes=-50": (-50, None),
    "bytes=2000000-99999999": (2_000_000, None),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_range(scene: Scene, wanted: str) -> None:
    """A registry SHOULD support Range by RFC 9110: 206 with the exact Content-Range."""
    begin, end, _ = slice(*RANGES[wanted]).indices(len(scene.blob))
    answer = scene.ask("GET", BLOB, Range=wanted)
    assert (answer.status_code, answer.content) == (206, scene.blob[begin:end])
    assert int(answer.headers["Content-Length"]) == end - begin
    exact = f"bytes {begin}-{end - 1}/{len(scene.blob)}"
    assert answer.headers["Content-Range"] == exact


def test_several_ranges(scene: Scene) -> None:
    """RFC 9110: each part of a multipart body has the range that it is."""
    answer = scene.ask("GET", BLOB, Range="bytes=0-1,5-6")
    assert answer.status_code == requests.codes.partial_content
    assert answer.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    for part in ("0-1", "5-6"):
        exact = f"content-range: bytes {part}/{len(scene.blob)}\r\n"
        assert exact in answer.text.lower()


def test_range_beyond_the_end(scene: Scene) -> None:
    """RFC 9110: a range that has nothing is 416, and tells the length."""
    size = len(scene.blob)
    answer = scene.ask("GET", BLOB, Range=f"bytes={size}-")
    assert answer.status_code == requests.codes.requested_range_not_satisfiable
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert scene.ask("HEAD", BLOB).ok, "the client goes on"


@pytest.mark.parametrize("path", [BY_TAG, BY_DIGEST, BLOB])
def test_what_is_known_is_not_sent_again(scene: Scene, path: str) -> None:
    """Clients may use conditional requests: 304 where the ETag is the same."""
    etag = scene.ask("HEAD", path).headers["ETag"]
    answer = scene.ask("GET", path, If_None_Match=etag)
    assert (answer.status_code, answer.content) == (304, b"")


@pytest.mark.parametrize(
    ("accept", "status"), [(OCI_MANIFEST, 200), ("application/x-none", 404)]
)
def test_accept(scene: Scene, accept: str, status: int) -> None:
    """The client SHOULD include Accept; what the registry makes of it passes."""
    answer = scene.ask("GET", BY_TAG, Accept=accept)
    assert answer.status_code == status
    if not answer.ok:
        assert "accept header" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digest_of_every_algorithm(scene: Scene, algorithm: str, kind: str) -> None:
    """What the registry says to a digest of a registered algorithm passes."""
    path = f"{kind}/{algorithm}:{'0' * ALGORITHMS[algorithm]}"
    answer = scene.ask("GET", path)
    with visiting(scene.installation.url, LOCATION) as direct:
        own = direct.ask("GET", path)
    if own.status_code == requests.codes.server_error and scene.mode.name == SLUG:
        # It failed in a search, with nothing of it to pass.
        assert answer.status_code in {500, 503}
        return
    assert answer.status_code == own.status_code
    assert answer.json()["errors"][0]["code"] == own.json()["errors"][0]["code"]
    assert LOCATION not in answer.text


def test_artifact(scene: Scene) -> None:
    """A client MUST fall back to "<alg>-<ref>", which lists what refers to a digest."""
    for tag in artifact_tags(scene.manifest.digest):
        answer = scene.ask("GET", f"manifests/{tag}")
        assert answer.json()["annotations"] == {"tag": tag}
        assert answer.headers["Content-Type"] == OCI_INDEX
        head = scene.ask("HEAD", f"manifests/{tag}")
        assert head.headers["Docker-Content-Digest"] == digest_of(answer.content)


@pytest.mark.parametrize("is_pulled", [True, False], ids=["pulled", "not pulled"])
def test_artifact_of_another_release(scene: Scene, *, is_pulled: bool) -> None:
    """It is found beside the image that it refers to, whichever of them that is."""
    is_selected = scene.mode.tag == "2.3.8"
    subject = manifest_at(OTHER_LOCATION, scene.installation)
    name = SLUG if is_selected else f"{SLUG}/{OTHER}"
    for tag in artifact_tags(subject.digest):
        with visiting(scene.visitor.url, name) as visitor:
            pulled = f"manifests/{OTHER if is_selected else 'latest'}"
            # A token for the list is for all releases that tags find.
            assert visitor.ask("GET", pulled if is_pulled else "tags/list").ok
            answer = visitor.ask("GET", f"manifests/{tag}")
        assert answer.json()["annotations"] == {"tag": tag}


@pytest.mark.parametrize("tag", artifact_tags(ABSENT))
def test_artifact_that_does_not_exist(scene: Scene, tag: str) -> None:
    """Where the tag is not found nothing refers to the image, and no image is sent."""
    answer = scene.ask("GET", f"manifests/{tag}")
    assert answer.status_code == requests.codes.not_found
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_list_of_tags(scene: Scene) -> None:
    """A repository that is found MUST be 200, with <name> and its tags."""
    answer = scene.ask("GET", "tags/list?n=1000")
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json().keys() == {"name", "tags"}
    assert answer.json()["name"] == scene.mode.name
    assert scene.mode.tag in answer.json()["tags"]
    assert "Link" not in answer.headers
