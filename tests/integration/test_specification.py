"""What the OCI distribution specification asks of pull, by its sentences.

Each case is named by the section and what it says, in short, of version 1.1 and of
the main branch: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
It holds in every mode, with docker-registry behind the proxy.
"""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
import requests

from demo.proxy import Proxy
from localcloud.image import OCI_INDEX, OCI_MANIFEST, Image, Manifest, digest_of
from localcloud.image import descriptor as descriptor_of
from localcloud.publication import push_images
from serve import free_port
from tests.integration.registry import Installation, installed, serving
from tests.integration.session import TIMEOUT
from tests.integration.storage import storing
from tests.integration.visitor import MANIFEST_TYPES, Visitor, visiting

SLUG = "balenablocks/browser-aarch64"
LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
"""Where 2.3.8+rev2 is stored, the target release."""
OTHER, OTHER_LOCATION = "2.3.8_rev1", "v2/afcf4e176ef8e94685a9ded8ce9c68b4"
"""A release that only its own version selects."""
ABSENT = "sha256:" + "0" * 64
ALGORITHMS = {"sha256": 64, "sha512": 128, "blake3": 64}
"""The registered ones, blake3 on the main branch, and how long they are in hex."""
CODES = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID"),
    *("MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID"),
    *("NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED"),
    "TOOMANYREQUESTS",
}


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


IGNORE, SELECT = {"TAGS": "ignore"}, {"TAGS": "select"}
FOLLOW = {"BLOBS": "follow", "BLOBS_ALLOW": "127.0.0.1/32,::1/128"}
PATH = f"{SLUG}/2.3.8"
MODES = {
    "path": Mode(PATH, "latest", SELECT),
    "tag ignored": Mode(SLUG, "latest", IGNORE),
    "tag selects": Mode(SLUG, "2.3.8", SELECT),
    "blobs redirected": Mode(SLUG, "2.3.8", SELECT, is_redirected=True),
    "blobs followed": Mode(PATH, "latest", SELECT | FOLLOW, is_redirected=True),
}

type Installations = Mapping[bool, Installation]
"""By whether blobs are redirected."""


def artifact(tag: str, subject: Manifest) -> Manifest:
    """Return an index that refers to the image, and is no other tag's."""
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor_of(subject)],
        "annotations": {"tag": tag},
    }
    content = json.dumps(index).encode()
    return Manifest(subject.repository, tag, OCI_INDEX, content, digest_of(content))


def artifact_tags(digest: str) -> dict[str, str]:
    """Return the tags of what refers to a manifest, by its digests of each algorithm.

    "<alg>-<ref>": the digest's algorithm, and at most 64 characters of the rest. What
    the digests of other algorithms are plays no part, as long as they are others.
    """
    own = digest.partition(":")[2]
    references = {"sha256": own, "sha512": own[::-1], "blake3": own[32:] + own[:32]}
    return {
        f"{algorithm}{ending}": f"{algorithm}-{references[algorithm]}{ending}"
        for algorithm in ALGORITHMS
        for ending in ("", ".sig", ".att", ".sbom")
    }


def image_at(location: str, installation: Installation) -> Image:
    """Return the image that is stored there."""
    (image,) = (i for i in installation.cloud.images if i.repository == location)
    return image


def manifest_at(location: str, installation: Installation) -> Manifest:
    """Return its manifest."""
    return next(m for m in image_at(location, installation).manifests if m.tag)


def attached(location: str, installation: Installation) -> Image:
    """Return what refers to the image that is stored there."""
    subject = manifest_at(location, installation)
    tags = artifact_tags(subject.digest).values()
    return Image(location, tuple(artifact(tag, subject) for tag in tags), ())


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
            made[is_redirected] = running = stack.enter_context(
                installed(folder, redirect_to=url)
            )
            artifacts = [attached(each, running) for each in (LOCATION, OTHER_LOCATION)]
            port = free_port()
            with serving(folder, port, {}):
                push_images(artifacts, f"http://localhost:{port}")
        yield made


@dataclass(frozen=True, slots=True)
class Scene:
    """A mode, the image that it serves, and a client."""

    mode: Mode
    visitor: Visitor
    manifest: Manifest
    blob: bytes
    digest: str
    """The blob's."""

    @property
    def words(self) -> Mapping[str, str]:
        """What stands for the names in braces of a case."""
        return {
            "tag": self.mode.tag,
            "digest": self.manifest.digest,
            "type": self.manifest.media_type,
            "size": str(len(self.manifest.content)),
            "blob": self.digest,
            "blob_size": str(len(self.blob)),
            "absent": ABSENT,
        }

    def ask(self, method: str, path: str, **headers: str) -> requests.Response:
        """Return the answer to a request below the repository."""
        return self.visitor.ask(method, path.format_map(self.words), **headers)


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def scene(
    request: pytest.FixtureRequest, installations: Installations
) -> Iterator[Scene]:
    """Each mode in turn."""
    mode: Mode = request.param
    installation = installations[mode.is_redirected]
    blob = max(
        image_at(LOCATION, installation).blobs, key=lambda each: len(each.content)
    )
    with (
        Proxy(installation.url, environment=mode.variables) as proxy,
        visiting(f"http://{proxy.host}", mode.name) as visitor,
    ):
        manifest = manifest_at(LOCATION, installation)
        yield Scene(mode, visitor, manifest, blob.content, blob.digest)


@dataclass(frozen=True, slots=True)
class Case:
    """A request and what the specification wants for an answer."""

    request: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    """Whose bytes the body has; or the code of an error."""


MANIFEST_HEADERS = {
    "Content-Type": "{type}",
    "Docker-Content-Digest": "{digest}",
    "Content-Length": "{size}",
}
BLOB_HEADERS = {"Docker-Content-Digest": "{blob}", "Content-Length": "{blob_size}"}
BY_TAG, BY_DIGEST = "manifests/{tag}", "manifests/{digest}"
CASES = {
    "pulling manifests: by tag, MUST be 200": Case(
        f"GET {BY_TAG}", 200, MANIFEST_HEADERS, "manifest"
    ),
    "pulling manifests: by digest, MUST be 200": Case(
        f"GET {BY_DIGEST}", 200, MANIFEST_HEADERS, "manifest"
    ),
    "pulling manifests: not found MUST be 404": Case(
        "GET manifests/{absent}", 404, {}, "MANIFEST_UNKNOWN"
    ),
    "pulling manifests: reference in no other format": Case(
        "GET manifests/.x", 400, {}, "NAME_INVALID"
    ),
    "pulling manifests: a tag MUST be at most 128 characters": Case(
        "GET manifests/" + "a" * 129, 400, {}, "NAME_INVALID"
    ),
    "pulling manifests: a registry may proxy another, named by ns": Case(
        f"GET {BY_TAG}?ns=docker.io", 200, MANIFEST_HEADERS, "manifest"
    ),
    "pulling blobs: MUST be 200": Case("GET blobs/{blob}", 200, BLOB_HEADERS, "blob"),
    "pulling blobs: not found MUST be 404": Case(
        "GET blobs/{absent}", 404, {}, "BLOB_UNKNOWN"
    ),
    "pulling blobs: a tag is no digest": Case(
        "GET blobs/latest", 400, {}, "NAME_INVALID"
    ),
    "checking: HEAD of a manifest by tag MUST be 200": Case(
        f"HEAD {BY_TAG}", 200, MANIFEST_HEADERS
    ),
    "checking: HEAD of a manifest by digest MUST be 200": Case(
        f"HEAD {BY_DIGEST}", 200, MANIFEST_HEADERS
    ),
    "checking: HEAD of a blob MUST be 200": Case(
        "HEAD blobs/{blob}", 200, BLOB_HEADERS
    ),
    "checking: a manifest that is not found MUST be 404": Case(
        "HEAD manifests/{absent}", 404
    ),
    "checking: a blob that is not found MUST be 404": Case("HEAD blobs/{absent}", 404),
    "digests: too short": Case("GET manifests/sha256:0f", 400, {}, "NAME_INVALID"),
    "digests: [A-F] MUST NOT be used": Case(
        "GET blobs/sha256:" + "0F" * 32, 400, {}, "NAME_INVALID"
    ),
    "digests: no algorithm": Case(
        "GET manifests/:" + "0f" * 32, 400, {}, "NAME_INVALID"
    ),
    "digests: of an algorithm that is not registered": Case(
        "GET blobs/md5:" + "0f" * 16, 400, {}, "NAME_INVALID"
    ),
    "referrers: a digest with an invalid syntax MUST be 400": Case(
        "GET referrers/sha256:0f", 400, {}, "NAME_INVALID"
    ),
    "referrers: a registry without the API answers 404": Case(
        "GET referrers/{digest}", 404
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_pull(scene: Scene, case: Case) -> None:
    """Status, headers, body and error are those that the specification wants."""
    method, _, path = case.request.partition(" ")
    answer = scene.ask(method, path)
    assert answer.status_code == case.status
    expected = {
        name: text.format_map(scene.words) for name, text in case.headers.items()
    }
    if scene.mode.leads_away and "blobs/" in path:
        # The answer is the storage's.
        expected.pop("Docker-Content-Digest", None)
    assert {name: answer.headers.get(name) for name in expected} == expected
    contents = {"manifest": scene.manifest.content, "blob": scene.blob, "": b""}
    if case.body in contents:
        assert answer.content == contents[case.body] or not case.body
        return
    (error,) = answer.json()["errors"]
    assert error["code"] == case.body
    assert case.body in CODES
    assert isinstance(error["message"], str)


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=100-199": (100, 200),
    "bytes=1000000-": (1_000_000, None),
    "bytes=-50": (-50, None),
    "bytes=2000000-99999999": (2_000_000, None),
}


@pytest.mark.parametrize("wanted", RANGES)
def test_range(scene: Scene, wanted: str) -> None:
    """A registry SHOULD support Range by RFC 9110: 206 with the exact Content-Range."""
    begin, end, _ = slice(*RANGES[wanted]).indices(len(scene.blob))
    answer = scene.ask("GET", "blobs/{blob}", Range=wanted)
    assert answer.status_code == requests.codes.partial_content
    assert answer.content == scene.blob[begin:end]
    assert int(answer.headers["Content-Length"]) == end - begin
    exact = f"bytes {begin}-{end - 1}/{len(scene.blob)}"
    assert answer.headers["Content-Range"] == exact


def test_several_ranges(scene: Scene) -> None:
    """RFC 9110: each part of a multipart body has the range that it is."""
    answer = scene.ask("GET", "blobs/{blob}", Range="bytes=0-1,5-6")
    assert answer.status_code == requests.codes.partial_content
    assert answer.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
    size = len(scene.blob)
    for part in (f"bytes 0-1/{size}", f"bytes 5-6/{size}"):
        assert f"content-range: {part}\r\n" in answer.text.lower()


def test_range_beyond_the_end(scene: Scene) -> None:
    """RFC 9110: a range that has nothing is 416, and tells the length."""
    size = len(scene.blob)
    wanted = f"bytes={size}-"
    answer = scene.ask("GET", "blobs/{blob}", Range=wanted)
    assert answer.status_code == requests.codes.requested_range_not_satisfiable
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    if not scene.mode.leads_away:
        (error,) = answer.json()["errors"]
        assert error["code"] == "UNSUPPORTED"
        assert f"'{wanted}': the length is {size} bytes" in error["message"]
    assert scene.ask("HEAD", "blobs/{blob}").ok, "the client goes on"


@pytest.mark.parametrize("path", [BY_TAG, BY_DIGEST, "blobs/{blob}"])
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
    if answer.ok:
        assert answer.headers["Content-Type"] == accept
    else:
        assert "accept header" in answer.json()["errors"][0]["message"]


def test_tag_that_does_not_exist(scene: Scene) -> None:
    """Not found MUST be 404 where the tag selects; elsewhere the name has done so."""
    answer = scene.ask("GET", "manifests/9.9.9")
    if scene.mode.tag == "2.3.8":
        assert answer.status_code == requests.codes.not_found
        (error,) = answer.json()["errors"]
        assert error["code"] in {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}
        assert "9.9.9" in error["message"]
        head = scene.ask("HEAD", "manifests/9.9.9")
        assert head.status_code == requests.codes.not_found
    else:
        assert answer.content == scene.manifest.content
        assert re.fullmatch(r'299 - "[^"]*9\.9\.9[^"]*"', answer.headers["Warning"])


def test_repository_that_does_not_exist(scene: Scene) -> None:
    """A release that is not there is 404; an application may be private, so 403.

    The specification wants 404 for both, and clients then say nothing of a login.
    """
    wanted = {f"{SLUG}/9.9.9": (404, "NAME_UNKNOWN"), "no/such": (403, "DENIED")}
    for name, expected in wanted.items():
        answer = scene.visitor.ask_for("GET", f"/v2/{name}/manifests/latest")
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"]) == expected


@pytest.mark.parametrize(
    "name", ["UPPER/case", "a//b", "a/-b", "a/b_", "a/" + "b" * 300]
)
def test_name_that_is_none(scene: Scene, name: str) -> None:
    """<name> MUST match the grammar, and seldom has more than 255 characters."""
    answer = scene.visitor.ask_for("GET", f"/v2/{name}/tags/list")
    assert answer.status_code == requests.codes.bad_request
    assert answer.json()["errors"][0]["code"] == "NAME_INVALID"


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_digest_of_every_algorithm(
    scene: Scene, installations: Installations, algorithm: str, kind: str
) -> None:
    """What the registry says to a digest of a registered algorithm passes."""
    installation = installations[scene.mode.is_redirected]
    path = f"{kind}/{algorithm}:{'0' * ALGORITHMS[algorithm]}"
    answer = scene.ask("GET", path)
    with visiting(installation.url, LOCATION) as direct:
        own = direct.ask("GET", path)
    if own.status_code == requests.codes.server_error and scene.mode.name == SLUG:
        # It failed in a search, with nothing of it to pass.
        assert answer.status_code in {500, 503}
        return
    assert answer.status_code == own.status_code
    assert answer.json()["errors"][0]["code"] == own.json()["errors"][0]["code"]
    assert LOCATION not in answer.text


ABSENT_TAGS = artifact_tags(ABSENT)


@pytest.mark.parametrize("kind", ABSENT_TAGS)
def test_artifact(scene: Scene, kind: str) -> None:
    """A client MUST fall back to "<alg>-<ref>", which lists what refers to a digest."""
    tag = artifact_tags(scene.manifest.digest)[kind]
    answer = scene.ask("GET", f"manifests/{tag}")
    assert answer.status_code == requests.codes.ok
    assert answer.json()["annotations"] == {"tag": tag}
    assert answer.headers["Content-Type"] == OCI_INDEX
    head = scene.ask("HEAD", f"manifests/{tag}")
    digest = head.headers["Docker-Content-Digest"]
    assert digest == digest_of(answer.content)


@pytest.mark.parametrize("kind", ABSENT_TAGS)
@pytest.mark.parametrize("is_pulled", [True, False], ids=["pulled", "not pulled"])
def test_artifact_of_another_release(
    scene: Scene, installations: Installations, kind: str, *, is_pulled: bool
) -> None:
    """It is found beside the image that it refers to, whichever of them that is."""
    is_selected = scene.mode.tag == "2.3.8"
    name = SLUG if is_selected else f"{SLUG}/{OTHER}"
    subject = manifest_at(OTHER_LOCATION, installations[scene.mode.is_redirected])
    tag = artifact_tags(subject.digest)[kind]
    with visiting(scene.visitor.url, name) as visitor:
        if is_pulled:
            pulled = f"manifests/{OTHER if is_selected else 'latest'}"
            head = visitor.ask("HEAD", pulled)
            assert head.headers["Docker-Content-Digest"] == subject.digest
        else:
            # The token is for all releases that tags find.
            assert visitor.ask("GET", "tags/list").ok
        answer = visitor.ask("GET", f"manifests/{tag}")
    assert answer.status_code == requests.codes.ok
    assert answer.json()["annotations"] == {"tag": tag}


@pytest.mark.parametrize("tag", ABSENT_TAGS.values(), ids=ABSENT_TAGS.keys())
def test_artifact_that_does_not_exist(scene: Scene, tag: str) -> None:
    """Where the tag is not found nothing refers to the image, and no image is sent."""
    answer = scene.ask("GET", f"manifests/{tag}")
    assert answer.status_code == requests.codes.not_found
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


PUSHES = {
    "end-4a: POST": ("POST", "blobs/uploads/"),
    "end-4b: POST with a digest": ("POST", f"blobs/uploads/?digest={ABSENT}"),
    "end-5: PATCH": ("PATCH", "blobs/uploads/1"),
    "end-6: PUT of a blob": ("PUT", f"blobs/uploads/1?digest={ABSENT}"),
    "end-7: PUT of a manifest": ("PUT", BY_TAG),
    "end-7: PUT with tags": ("PUT", f"{BY_DIGEST}?tag=a&tag=b"),
    "end-9: DELETE of a tag": ("DELETE", BY_TAG),
    "end-9: DELETE of a manifest": ("DELETE", BY_DIGEST),
    "end-10: DELETE of a blob": ("DELETE", "blobs/{blob}"),
    "end-11: mount": ("POST", f"blobs/uploads/?mount={ABSENT}&from=a/b"),
}


@pytest.mark.parametrize(("method", "path"), PUSHES.values(), ids=PUSHES.keys())
def test_push(scene: Scene, method: str, path: str) -> None:
    """What is disabled MUST be 400 or 405; by RFC 9110, 405 comes with Allow."""
    answer = scene.ask(method, path)
    assert answer.status_code == requests.codes.method_not_allowed
    assert answer.headers["Allow"] == "GET, HEAD"
    (error,) = answer.json()["errors"]
    assert error["code"] == "UNSUPPORTED"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (BY_TAG, 200),
        ("manifests/{absent}", 404),
        ("blobs/{blob}", 200),
        ("blobs/{absent}", 404),
        ("blobs/x", 400),
        ("referrers/{digest}", 404),
    ],
)
def test_head_has_no_body(scene: Scene, path: str, status: int) -> None:
    """A HEAD request never gets a body, whatever the answer says of its length."""
    path = path.format_map(scene.words)
    scene.ask("HEAD", path)
    host = scene.visitor.url.removeprefix("http://")
    head = (
        f"HEAD /v2/{scene.mode.name}/{path} HTTP/1.1\r\nHost: {host}\r\n"
        f"Accept: {MANIFEST_TYPES}\r\nAuthorization: Bearer {scene.visitor.token}\r\n"
        "Connection: close\r\n\r\n"
    )
    address, _, port = host.partition(":")
    with socket.create_connection((address, int(port)), TIMEOUT) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    if scene.mode.leads_away and status == requests.codes.ok and "blobs" in path:
        status = requests.codes.temporary_redirect
    begin, _, body = answer.partition(b"\r\n\r\n")
    assert (int(begin.split()[1]), body) == (status, b"")


def test_base(scene: Scene) -> None:
    """Determining support: GET /v2/ is 200; without a token 401, and a challenge."""
    with visiting(scene.visitor.url, scene.mode.name) as stranger:
        assert stranger.ask("GET", BY_TAG.format_map(scene.words)).ok
        answer = stranger.ask_for("GET", "/v2/")
        assert answer.status_code == requests.codes.ok
        version = answer.headers["Docker-Distribution-Api-Version"]
        assert version == "registry/2.0"
    with requests.Session() as session:
        session.trust_env = False
        refused = session.get(f"{scene.visitor.url}/v2/", timeout=TIMEOUT)
    assert refused.status_code == requests.codes.unauthorized
    realm = f'realm="{scene.visitor.url}/auth/v1/token"'
    assert realm in refused.headers["WWW-Authenticate"]
    assert refused.json()["errors"][0]["code"] == "UNAUTHORIZED"


@pytest.mark.parametrize("query", ["", "?n=10000", "?n=1000"])
def test_list_of_tags(scene: Scene, query: str) -> None:
    """A repository that is found MUST be 200, with <name> and its tags."""
    answer = scene.ask("GET", f"tags/list{query}")
    assert answer.status_code == requests.codes.ok
    assert answer.headers["Content-Type"].startswith("application/json")
    listed = answer.json()
    assert set(listed) == {"name", "tags"}
    assert listed["name"] == scene.mode.name
    assert scene.mode.tag in listed["tags"]
    assert "Link" not in answer.headers
