"""The registry serves what the token allows, whole, in part and by redirect."""

import json
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest

from localcloud import LocalCloud
from localcloud.image import DOCKER_LIST, OCI_INDEX, Image, Manifest, digest_of
from localcloud.issuer import Access, Issuer
from localcloud.registry import Registry
from localcloud.server import Request
from tests.localcloud.client import Answer, ask

BIG = "v2/567e62d1e73529e7a31757ac1f3fb902"
PRIVATE = "v2/875ff9869a2373a5d97612c498e0bcf1"
OTHER = "v2/1491e71e5fce93aa53ff96e0d993b5ae"
TRACKERS = {
    "v2/dc8f1bfe00175d72b481a1a5badc85bb": DOCKER_LIST,
    "v2/c4b25908ae5a982e8faa2da9faf59b64": OCI_INDEX,
}
ABSENT = f"sha256:{'a' * 64}"


def pull(
    cloud: LocalCloud,
    path: str,
    repository: str = BIG,
    method: str = "GET",
    **headers: str,
) -> Answer:
    """Ask the registry with a token for one repository."""
    token = cloud.issuer.issue("", [Access(repository, ("pull",))])
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    authorization = {"Authorization": f"Bearer {token}"}
    return ask(cloud.registry_url, path, {**authorization, **sent}, method)


def test_every_successful_image_is_whole(cloud: LocalCloud) -> None:
    """Digests, sizes and the database agree for every manifest and blob."""
    rows = [row for row in cloud.database.rows("image") if row["status"] == "success"]
    assert len(rows) == len(cloud.images)
    for row in rows:
        location = str(row["is_stored_at__image_location"])
        host, _, repository = location.partition("/")
        assert host == urlsplit(cloud.registry_url).netloc
        tagged = pull(cloud, f"/v2/{repository}/manifests/latest", repository)
        assert tagged.headers["Docker-Content-Digest"] == row["content_hash"]
        check_manifest(cloud, repository, str(row["content_hash"]))


def check_manifest(cloud: LocalCloud, repository: str, digest: str) -> None:
    """Follow a manifest down to its blobs."""
    answer = pull(cloud, f"/v2/{repository}/manifests/{digest}", repository)
    assert answer.status == 200
    assert digest_of(answer.body) == digest
    manifest = answer.json
    assert answer.headers["Content-Type"] == manifest["mediaType"]
    for child in manifest.get("manifests", []):
        check_manifest(cloud, repository, child["digest"])
    for blob in (
        [manifest["config"], *manifest["layers"]] if "layers" in manifest else ()
    ):
        content = pull(cloud, f"/v2/{repository}/blobs/{blob['digest']}", repository)
        assert digest_of(content.body) == blob["digest"]
        assert len(content.body) == blob["size"]


def test_images_differ() -> None:
    """Every image has a digest of its own, and the same one at each start."""
    with LocalCloud() as one, LocalCloud() as other:
        digests = [image.digest for image in one.images]
        assert len(set(digests)) == len(digests)
        assert digests == [image.digest for image in other.images]


def test_big_image_takes_its_time(cloud: LocalCloud) -> None:
    """The default release has some megabytes that do not compress."""
    image = next(image for image in cloud.images if image.repository == BIG)
    assert 5 << 20 < sum(len(blob.content) for blob in image.blobs) < 10 << 20


@pytest.mark.parametrize(("repository", "media_type"), TRACKERS.items())
def test_multi_platform(cloud: LocalCloud, repository: str, media_type: str) -> None:
    """An index lists one manifest for each platform, stored by digest."""
    index = pull(cloud, f"/v2/{repository}/manifests/latest", repository)
    assert index.headers["Content-Type"] == media_type
    platforms = [child["platform"] for child in index.json["manifests"]]
    assert platforms == [
        {"architecture": architecture, "os": "linux"}
        for architecture in ("amd64", "arm64")
    ]
    for child, platform in zip(index.json["manifests"], platforms, strict=True):
        manifest = pull(
            cloud, f"/v2/{repository}/manifests/{child['digest']}", repository
        ).json
        config = pull(
            cloud, f"/v2/{repository}/blobs/{manifest['config']['digest']}", repository
        ).json
        assert config["architecture"] == platform["architecture"]


def challenge(path_scope: str, error: str, cloud: LocalCloud) -> str:
    """Return docker-registry's challenge."""
    realm = f'Bearer realm="{cloud.api_url}/auth/v1/token"'
    return f'{realm},service="{cloud.registry_host}"{path_scope}{error}'


@pytest.mark.parametrize(
    ("path", "token_for", "scope", "error"),
    [
        ("/v2/", None, "", ""),
        ("/v2/", "garbage", "", ',error="invalid_token"'),
        (f"/v2/{BIG}/manifests/latest", None, BIG, ""),
        (f"/v2/{BIG}/manifests/latest", "garbage", BIG, ',error="invalid_token"'),
        (f"/v2/{BIG}/manifests/latest", OTHER, BIG, ',error="insufficient_scope"'),
        (f"/v2/{BIG}/blobs/{ABSENT}", OTHER, BIG, ',error="insufficient_scope"'),
        (f"/v2/{BIG}/tags/list", None, BIG, ""),
        ("/v2/org/app/2.3/manifests/latest", None, "org/app/2.3", ""),
    ],
)
def test_challenge(
    cloud: LocalCloud, path: str, token_for: str | None, scope: str, error: str
) -> None:
    """Without the right token comes docker-registry's challenge and body."""
    headers = {}
    if token_for == "garbage":
        headers["Authorization"] = "Bearer a.b.c"
    elif token_for:
        token = cloud.issuer.issue("", [Access(token_for, ("pull",))])
        headers["Authorization"] = f"Bearer {token}"
    answer = ask(cloud.registry_url, path, headers)
    assert answer.status == 401
    named = f',scope="repository:{scope}:pull"' if scope else ""
    assert answer.headers["WWW-Authenticate"] == challenge(named, error, cloud)
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    detail = {"Type": "repository", "Class": "", "Name": scope, "Action": "pull"}
    assert answer.json["errors"] == [
        {
            "code": "UNAUTHORIZED",
            "message": "authentication required",
            "detail": [detail] if scope else None,
        }
    ]


def test_rights_end_at_the_token(cloud: LocalCloud) -> None:
    """The API's token opens a private image for its members alone."""
    target = f"/auth/v1/token?scope=repository:{PRIVATE}:pull"
    for key, status in [("carol", 200), ("bob", 401)]:
        headers = {"Authorization": f"Bearer {cloud.keys[key]}"}
        token = ask(cloud.api_url, target, headers).json["token"]
        answer = ask(
            cloud.registry_url,
            f"/v2/{PRIVATE}/manifests/latest",
            {"Authorization": f"Bearer {token}"},
        )
        assert answer.status == status


def test_expired_token_is_challenged() -> None:
    """The registry reads the same clock as the issuer."""
    clock = [1_000_000.0]
    with LocalCloud(clock=lambda: clock[0], publish=False) as cloud:
        headers = {"Authorization": f"Bearer {cloud.issuer.issue('', [])}"}
        assert ask(cloud.registry_url, "/v2/", headers).status == 200
        clock[0] += 20_000
        refused = ask(cloud.registry_url, "/v2/", headers)
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v2/{BIG}/manifests/1.0.0", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/{BIG}/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/{BIG}/manifests/sha256:zz", 400, "DIGEST_INVALID"),
        (f"/v2/{BIG}/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        (f"/v2/{BIG}/blobs/sha256:zz", 400, "DIGEST_INVALID"),
        (f"/v2/{BIG}0/tags/list", 404, "NAME_UNKNOWN"),
    ],
)
def test_unknown(cloud: LocalCloud, path: str, status: int, code: str) -> None:
    """What is not there gets the registry's error."""
    repository = f"{BIG}0" if "tags" in path else BIG
    answer = pull(cloud, path, repository)
    assert (answer.status, answer.json["errors"][0]["code"]) == (status, code)


def test_push_is_not_supported(cloud: LocalCloud) -> None:
    """Even a token to push does not make this registry writable."""
    token = cloud.issuer.issue("", [Access(BIG, ("pull", "push"))])
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/v2/{BIG}/manifests/latest"
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        answer = ask(cloud.registry_url, path, headers, method)
        assert (answer.status, answer.json["errors"][0]["code"]) == (405, "UNSUPPORTED")


def big_blob(cloud: LocalCloud) -> tuple[str, bytes]:
    """Return the path and content of a big layer."""
    image = next(image for image in cloud.images if image.repository == BIG)
    blob = max(image.blobs, key=lambda blob: len(blob.content))
    return f"/v2/{BIG}/blobs/{blob.digest}", blob.content


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ("bytes=0-9", 206, 0, 9),
        ("bytes=100-", 206, 100, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=5-99999999", 206, 5, None),
        ("bytes=0-0", 206, 0, 0),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=9-5", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=-", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
def test_range(
    cloud: LocalCloud, asked: str, status: int, first: int, last: int | None
) -> None:
    """A range gets exactly its bytes."""
    path, content = big_blob(cloud)
    answer = pull(cloud, path, Range=asked)
    size = len(content)
    assert answer.status == status
    if status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{size}"
        return
    start = first % size
    end = size - 1 if last is None else last
    assert answer.body == content[start : end + 1]
    expected = f"bytes {start}-{end}/{size}" if status == 206 else None
    assert answer.headers["Content-Range"] == expected


def test_head_and_etag(cloud: LocalCloud) -> None:
    """HEAD says what GET would send, and what is known is not sent again."""
    blob, content = big_blob(cloud)
    for path in (blob, f"/v2/{BIG}/manifests/latest"):
        head = pull(cloud, path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        digest = head.headers["Docker-Content-Digest"]
        assert pull(cloud, path, If_None_Match=f'"{digest}"').status == 304
    head = pull(cloud, blob, method="HEAD")
    assert head.headers["Content-Length"] == str(len(content))


def test_referrers(cloud: LocalCloud) -> None:
    """The big image has an artifact that refers to it; others have none."""
    image = next(image for image in cloud.images if image.repository == BIG)
    found = pull(cloud, f"/v2/{BIG}/referrers/{image.digest}")
    assert found.headers["Content-Type"] == OCI_INDEX
    (artifact,) = found.json["manifests"]
    assert artifact["artifactType"].endswith("+text")
    assert pull(cloud, f"/v2/{BIG}/manifests/{artifact['digest']}").status == 200
    assert pull(cloud, f"/v2/{BIG}/referrers/{ABSENT}").json["manifests"] == []


def test_tags_in_pages() -> None:
    """``n`` and ``last`` cut the list of tags, and a link leads on."""
    issuer = Issuer("api", "registry", lambda: 1_000_000)
    registry = Registry(issuer, "http://realm")
    manifests = tuple(
        Manifest("v2/aa", tag, OCI_INDEX, tag.encode(), digest_of(tag.encode()))
        for tag in ("b", "c", "a")
    )
    registry.add(Image("v2/aa", manifests, ()))
    token = issuer.issue("", [Access("v2/aa", ("pull",))])
    headers = (("Authorization", f"Bearer {token}"),)

    def tags(query: str) -> tuple[list[str], str | None]:
        answer = registry(Request("GET", f"/v2/v2/aa/tags/list{query}", headers))
        return json.loads(answer.body or b"")["tags"], answer.header("Link")

    assert tags("") == (["a", "b", "c"], None)
    link = '</v2/v2/aa/tags/list?last=b&n=2>; rel="next"'
    assert tags("?n=2") == (["a", "b"], link)
    assert tags("?n=2&last=b") == (["c"], None)
    assert tags("?n=0") == ([], None)


def test_blobs_redirect_to_storage(redirecting: LocalCloud) -> None:
    """The storage's URL names no repository, and serves ranges without a token."""
    path, content = big_blob(redirecting)
    for method in ("GET", "HEAD"):
        assert pull(redirecting, path, method=method).status == 307
    location = pull(redirecting, path).headers["Location"]
    assert location.startswith(redirecting.storage_url)
    assert BIG.partition("/")[2] not in location
    target = location.removeprefix(redirecting.storage_url)
    whole = ask(redirecting.storage_url, target)
    assert (whole.status, whole.body) == (200, content)
    part = ask(redirecting.storage_url, target, {"Range": "bytes=1-3"})
    assert (part.status, part.body) == (206, content[1:4])


def test_storage_wants_one_proof(redirecting: LocalCloud) -> None:
    """An ``Authorization`` is a 400 as with S3, a bad signature a 403."""
    path, _ = big_blob(redirecting)
    location = pull(redirecting, path).headers["Location"]
    target = location.removeprefix(redirecting.storage_url)
    url = redirecting.storage_url
    assert ask(url, target, {"Authorization": "Bearer x"}).status == 400
    assert ask(url, target + "0").status == 403
    assert ask(url, target.partition("?")[0]).status == 403
    assert ask(url, target, method="PUT").status == 405


def test_signed_url_expires() -> None:
    """A signed URL is good for a while only."""
    clock = [1_000_000.0]
    with LocalCloud(redirect_blobs=True, clock=lambda: clock[0]) as cloud:
        location = pull(cloud, big_blob(cloud)[0]).headers["Location"]
        target = location.removeprefix(cloud.storage_url)
        clock[0] += 10_000
        assert ask(cloud.storage_url, target).status == 403


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_inspects_an_image(cloud: LocalCloud) -> None:
    """A real client finds an image by its location."""
    found = subprocess.run(
        [
            "skopeo",
            "inspect",
            "--tls-verify=false",
            f"--creds=u:{cloud.keys['carol']}",
            f"docker://{cloud.registry_host}/{PRIVATE}",
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    image = next(image for image in cloud.images if image.repository == PRIVATE)
    assert json.loads(found.stdout)["Digest"] == image.digest
