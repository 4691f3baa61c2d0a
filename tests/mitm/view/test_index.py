"""An index reads as what it is for: platforms, attestations, and what refers to it."""

from localcloud import LocalCloud
from localcloud.image import OCI_INDEX, OCI_MANIFEST
from mitm.story.record import Kind
from tests.mitm.view.document import described, descriptor, index, pulled, rows, seen
from tests.resolver.fake import DIGEST, LOCATION


def test_index_with_attestation() -> None:
    """Each platform in words; what is none says what it is there for."""
    first = "sha256:" + "b2" * 32
    notes = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": first,
    }
    unknown = {"os": "unknown", "architecture": "unknown"}
    windows = {"os": "windows", "architecture": "amd64", "os.version": "10.0.17763.1"}
    arm = {"os": "linux", "architecture": "arm", "variant": "v7"}
    document = index(
        descriptor(digest=first, mediaType=OCI_MANIFEST, platform=arm),
        descriptor(mediaType=OCI_MANIFEST, platform=windows),
        descriptor(mediaType=OCI_MANIFEST, platform=unknown, annotations=notes),
        descriptor(mediaType=OCI_INDEX, artifactType="application/vnd.x"),
        descriptor(mediaType=OCI_INDEX),
        annotations={"org.opencontainers.image.title": "made\nup"},
    )
    lines = described(document, OCI_INDEX)
    begin = lines.index("# platform type size bytes digest")
    tail = f"1.2 kB 1,234 {DIGEST}"
    assert lines[begin + 1 : begin + 6] == [
        f"1 linux/arm/v7 manifest 1.2 kB 1,234 {first}",
        f"2 windows/amd64 10.0.17763.1 manifest {tail}",
        f"3 attestation of 1 manifest {tail}",
        f"4 artifact application/vnd.x index {tail}",
        f"5 not said index {tail}",
    ]
    begin = lines.index("annotations")
    assert lines[begin + 1 :] == [
        r"org.opencontainers.image.title made\nup",
        "3 vnd.docker.reference.type attestation-manifest",
        f"3 vnd.docker.reference.digest {first}",
    ]
    assert "5 manifests, 6.2 kB (6,170 bytes)" in lines


def test_artifact_and_its_referrers(cloud: LocalCloud) -> None:
    """An attached artifact says to what; the list of referrers says what there is."""
    image = next(image for image in cloud.images if image.repository == LOCATION)
    (note,) = [one for one in image.manifests if b"artifactType" in one.content]
    path = f"manifests/{note.digest}"
    lines = seen(pulled(cloud, LOCATION, path), Kind.MANIFEST, f"/v2/{LOCATION}/{path}")
    assert "artifact application/vnd.localcloud.note.v1+text" in lines
    assert f"subject {image.digest}" in lines
    assert not any(line.startswith("platform") for line in lines)
    path = f"referrers/{image.digest}"
    answer = pulled(cloud, LOCATION, path)
    lines = seen(answer, Kind.REFERRERS, f"/v2/{LOCATION}/{path}")
    assert lines[0] == "OCI image index"
    (row,) = rows(lines)
    assert row.startswith(
        "1 artifact application/vnd.localcloud.note.v1+text manifest "
    )
    assert row.endswith(note.digest)


def test_no_referrers() -> None:
    """An empty list is a list."""
    lines = described(index(), OCI_INDEX)
    assert lines[lines.index("0 manifests, 0 bytes") + 1] == "none"
