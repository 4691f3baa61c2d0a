"""The registry of images: whole ones, behind tokens, and redirects to storage."""

from urllib.parse import urlsplit

from localcloud import LocalCloud
from localcloud.image import digest_of
from localcloud.issuer import Access
from tests.localcloud.client import Answer, ask

BIG = "v2/567e62d1e73529e7a31757ac1f3fb902"


def pull(cloud: LocalCloud, path: str, method: str = "GET") -> Answer:
    """Ask the registry for content, with a token for the repository of the path."""
    repository = "/".join(path.split("/")[2:4])
    token = cloud.issuer.issue("", [Access(repository, ("pull",))])
    headers = {"Authorization": f"Bearer {token}"}
    return ask(cloud.registry_url, path, headers, method)


def test_every_successful_image_is_whole(cloud: LocalCloud) -> None:
    """Digests, sizes and the database agree, and every image has its own digest."""
    rows = cloud.database.find("image", status="success")
    assert len({row["content_hash"] for row in rows}) == len(rows) == len(cloud.images)
    for row in rows:
        host, _, repository = row["is_stored_at__image_location"].partition("/")
        assert host == urlsplit(cloud.registry_url).netloc
        tagged = pull(cloud, f"/v2/{repository}/manifests/latest")
        assert tagged.headers["Docker-Content-Digest"] == row["content_hash"]
        check_manifest(cloud, repository, row["content_hash"])


def check_manifest(cloud: LocalCloud, repository: str, digest: str) -> None:
    """Follow a manifest down to its blobs."""
    answer = pull(cloud, f"/v2/{repository}/manifests/{digest}")
    assert answer.status == 200
    assert digest_of(answer.body) == digest
    manifest = answer.json
    assert answer.headers["Content-Type"] == manifest["mediaType"]
    for child in manifest.get("manifests", []):
        check_manifest(cloud, repository, child["digest"])
    blobs = [manifest["config"], *manifest["layers"]] if "layers" in manifest else []
    for blob in blobs:
        content = pull(cloud, f"/v2/{repository}/blobs/{blob['digest']}")
        assert digest_of(content.body) == blob["digest"]
        assert len(content.body) == blob["size"]


def big_blob(cloud: LocalCloud) -> tuple[str, bytes]:
    """Return the path and content of a big layer."""
    image = next(image for image in cloud.images if image.repository == BIG)
    blob = max(image.blobs, key=lambda blob: len(blob.content))
    return f"/v2/{BIG}/blobs/{blob.digest}", blob.content


def test_blobs_redirect_to_storage() -> None:
    """The storage's URL names no repository, and is a proof by itself for its time."""
    clock = [1_000_000.0]
    with LocalCloud(redirect_blobs=True, clock=lambda: clock[0]) as cloud:
        image = next(image for image in cloud.images if image.repository == BIG)
        blob = image.blobs[-1]
        path = f"/v2/{BIG}/blobs/{blob.digest}"
        assert pull(cloud, path, "HEAD").status == 307
        location = pull(cloud, path).headers["Location"]
        assert BIG.partition("/")[2] not in location
        target = location.removeprefix(cloud.storage_url)
        part = ask(cloud.storage_url, target, {"Range": "bytes=1-3"})
        assert (part.status, part.body) == (206, blob.content[1:4])
        # As with S3, one proof is wanted, and it has to be good.
        twice = ask(cloud.storage_url, target, {"Authorization": "Bearer x"})
        assert twice.status == 400
        assert ask(cloud.storage_url, f"{target}0").status == 403
        clock[0] += 20_000
        assert ask(cloud.storage_url, target).status == 403
