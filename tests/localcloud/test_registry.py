"""The registry serves what the token allows, whole, in part and by redirect."""

from urllib.parse import urlsplit

import pytest

from localcloud import LocalCloud
from localcloud.image import DOCKER_LIST, OCI_INDEX, digest_of
from localcloud.issuer import Access
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
    """Digests, sizes and the database agree, and every image has its own digest."""
    rows = cloud.database.find("image", status="success")
    assert len({row["content_hash"] for row in rows}) == len(rows) == len(cloud.images)
    for row in rows:
        host, _, repository = row["is_stored_at__image_location"].partition("/")
        assert host == urlsplit(cloud.registry_url).netloc
        tagged = pull(cloud, f"/v2/{repository}/manifests/latest", repository)
        assert tagged.headers["Docker-Content-Digest"] == row["content_hash"]
        check_manifest(cloud, repository, row["content_hash"])


def check_manifest(cloud: LocalCloud, repository: str, digest: str) -> None:
    """Follow a manifest down to its blobs."""
    answer = pull(cloud, f"/v2/{repository}/manifests/{digest}", repository)
    assert answer.status == 200
    assert digest_of(answer.body) == digest
    manifest = answer.json
    assert answer.headers["Content-Type"] == manifest["mediaType"]
    for child in manifest.get("manifests", []):
        check_manifest(cloud, repository, child["digest"])
    blobs = [manifest["config"], *manifest["layers"]] if "layers" in manifest else []
    for blob in blobs:
        content = pull(cloud, f"/v2/{repository}/blobs/{blob['digest']}", repository)
        assert digest_of(content.body) == blob["digest"]
        assert len(content.body) == blob["size"]


def test_big_image_takes_its_time(cloud: LocalCloud) -> None:
    """The default release has some megabytes that do not compress."""
    image = next(image for image in cloud.images if image.repository == BIG)
    assert 5 << 20 < sum(len(blob.content) for blob in image.blobs) < 10 << 20


@pytest.mark.parametrize(("repository", "media_type"), TRACKERS.items())
def test_multi_platform(cloud: LocalCloud, repository: str, media_type: str) -> None:
    """An index lists one manifest for each platform, stored by digest."""
    base = f"/v2/{repository}"
    index = pull(cloud, f"{base}/manifests/latest", repository)
    assert index.headers["Content-Type"] == media_type
    children = {
        child["platform"]["architecture"]: child["digest"]
        for child in index.json["manifests"]
    }
    assert list(children) == ["amd64", "arm64"]
    for architecture, digest in children.items():
        manifest = pull(cloud, f"{base}/manifests/{digest}", repository).json
        path = f"{base}/blobs/{manifest['config']['digest']}"
        assert pull(cloud, path, repository).json["architecture"] == architecture


@pytest.mark.parametrize(
    ("path", "token_for", "scope", "error"),
    [
        ("/v2/", None, "", ""),
        ("/v2/", "garbage", "", "invalid_token"),
        (f"/v2/{BIG}/manifests/latest", None, BIG, ""),
        (f"/v2/{BIG}/manifests/latest", "garbage", BIG, "invalid_token"),
        (f"/v2/{BIG}/manifests/latest", OTHER, BIG, "insufficient_scope"),
        (f"/v2/{BIG}/blobs/{ABSENT}", OTHER, BIG, "insufficient_scope"),
        (f"/v2/{BIG}/tags/list", None, BIG, ""),
        ("/v2/org/app/2.3/manifests/latest", None, "org/app/2.3", ""),
    ],
)
def test_challenge(
    cloud: LocalCloud, path: str, token_for: str | None, scope: str, error: str
) -> None:
    """Without the right token comes docker-registry's challenge and body."""
    token = "a.b.c"
    if token_for != "garbage":
        token = cloud.issuer.issue("", [Access(str(token_for), ("pull",))])
    headers = {"Authorization": f"Bearer {token}"} if token_for else {}
    answer = ask(cloud.registry_url, path, headers)
    assert answer.status == 401
    challenge = f'Bearer realm="{cloud.api_url}/auth/v1/token"'
    challenge += f',service="{cloud.registry_host}"'
    challenge += f',scope="repository:{scope}:pull"' if scope else ""
    challenge += f',error="{error}"' if error else ""
    assert answer.headers["WWW-Authenticate"] == challenge
    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    detail = {"Type": "repository", "Class": "", "Name": scope, "Action": "pull"}
    assert answer.json["errors"] == [
        {
            "code": "UNAUTHORIZED",
            "message": "authentication required",
            "detail": [detail] if scope else None,
        }
    ]


@pytest.mark.parametrize(("key", "status"), [("carol", 200), ("bob", 401)])
def test_rights_end_at_the_token(cloud: LocalCloud, key: str, status: int) -> None:
    """The API's token opens a private image for its members alone."""
    target = f"/auth/v1/token?scope=repository:{PRIVATE}:pull"
    login = {"Authorization": f"Bearer {cloud.keys[key]}"}
    token = ask(cloud.api_url, target, login).json["token"]
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/v2/{PRIVATE}/manifests/latest"
    assert ask(cloud.registry_url, path, headers).status == status


def test_time_passes() -> None:
    """Tokens and signed URLs expire by the cloud's clock."""
    clock = [1_000_000.0]
    with LocalCloud(redirect_blobs=True, clock=lambda: clock[0]) as cloud:
        headers = {"Authorization": f"Bearer {cloud.issuer.issue('', [])}"}
        assert ask(cloud.registry_url, "/v2/", headers).status == 200
        location = pull(cloud, big_blob(cloud)[0]).headers["Location"]
        target = location.removeprefix(cloud.storage_url)
        assert ask(cloud.storage_url, target).status == 200
        clock[0] += 20_000
        refusal = ask(cloud.registry_url, "/v2/", headers)
        assert 'error="invalid_token"' in refusal.headers["WWW-Authenticate"]
        assert ask(cloud.storage_url, target).status == 403


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v2/{BIG}/manifests/1.0.0", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/{BIG}/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/{BIG}/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
    ],
)
def test_unknown(cloud: LocalCloud, path: str, status: int, code: str) -> None:
    """What is not there gets the registry's error."""
    answer = pull(cloud, path)
    assert (answer.status, answer.json["errors"][0]["code"]) == (status, code)


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
        ("bytes=5-99999999", 206, 5, None),
        ("bytes=0-0", 206, 0, 0),
        ("bytes=99999999-", 416, 0, 0),
        ("bytes=9-5", 416, 0, 0),
        ("bytes=-5", 200, 0, None),
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
    end = size - 1 if last is None else last
    assert answer.body == content[first : end + 1]
    expected = f"bytes {first}-{end}/{size}" if status == 206 else None
    assert answer.headers["Content-Range"] == expected


def test_head(cloud: LocalCloud) -> None:
    """HEAD says what GET would send."""
    for path in (big_blob(cloud)[0], f"/v2/{BIG}/manifests/latest"):
        head, whole = pull(cloud, path, method="HEAD"), pull(cloud, path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers.items() == whole.headers.items()


def test_referrers(cloud: LocalCloud) -> None:
    """The big image has an artifact that refers to it; others have none."""
    image = next(image for image in cloud.images if image.repository == BIG)
    found = pull(cloud, f"/v2/{BIG}/referrers/{image.digest}")
    assert found.headers["Content-Type"] == OCI_INDEX
    (artifact,) = found.json["manifests"]
    assert artifact["artifactType"].endswith("+text")
    assert pull(cloud, f"/v2/{BIG}/manifests/{artifact['digest']}").status == 200
    assert pull(cloud, f"/v2/{BIG}/referrers/{ABSENT}").json["manifests"] == []


def test_tags(cloud: LocalCloud) -> None:
    """A repository lists its tags."""
    assert pull(cloud, f"/v2/{BIG}/tags/list").json == {"name": BIG, "tags": ["latest"]}


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
    # As with S3, one proof is wanted, and it has to be good.
    refused = {target: {"Authorization": "Bearer x"}, f"{target}0": {}, "/x": {}}
    statuses = [ask(redirecting.storage_url, t, h).status for t, h in refused.items()]
    assert statuses == [400, 403, 403]
