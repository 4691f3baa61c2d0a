"""A manifest or an index reads as what it consists of, and its digest is checked."""

import hashlib
import json
import re
from typing import Any

import pytest

from localcloud.image import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from mitm.story.kind import Kind
from tests.mitm.view.sample import make_flow, shown, squeezed
from tests.resolver.fake import DIGEST

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
PATH = "/v2/org/app/manifests/latest"


def descriptor(size: object = 1234, **fields: object) -> dict[str, Any]:
    """Return a reference to a layer."""
    return {"mediaType": LAYER, "size": size, "digest": DIGEST, **fields}


def manifest(**fields: object) -> dict[str, Any]:
    """Return a manifest of one layer."""
    config = descriptor(500, mediaType=CONFIG)
    return {"schemaVersion": 2, "config": config, "layers": [descriptor()], **fields}


def described(
    document: object, content_type: str = "", path: str = PATH, **headers: str
) -> list[str]:
    """Return the lines that are shown of the document."""
    body = json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    flow = make_flow(
        Kind.MANIFEST, path, body=body, content_type=content_type, headers=named
    )
    view, text = shown(flow)
    assert view == "registry manifest"
    return squeezed(text)


def rows(lines: list[str]) -> list[str]:
    """Return the rows of the table."""
    return [line for line in lines if re.match(r"\d+ \S+ .* sha\d+:\w+$", line)]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_digest_that_differs(algorithm: str) -> None:
    """What the header or the client says, and the content is not, is called wrong."""
    body = json.dumps(manifest()).encode()
    right = f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"
    wrong = f"{algorithm}:{'0' * hashlib.new(algorithm).digest_size * 2}"
    path = f"/v2/org/app/manifests/{right}"
    assert "computed, and the same as Docker-Content-Digest" in described(
        manifest(), OCI_MANIFEST, path, Docker_Content_Digest=right
    )
    lines = described(
        manifest(),
        OCI_MANIFEST,
        path[: -len(right)] + wrong,
        Docker_Content_Digest=wrong,
    )
    assert f"digest {right}" in lines
    said = " ".join(lines)
    assert f"WRONG, Docker-Content-Digest is {wrong}" in said
    assert f"WRONG, the client asked for {wrong}" in said


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain"])
@pytest.mark.parametrize("stated", [OCI_MANIFEST, DOCKER_MANIFEST, None])
def test_type_inside(content_type: str, stated: str | None) -> None:
    """A manifest is known by what stands in it, where the header does not say it."""
    lines = described(manifest(mediaType=stated), content_type)
    makes = {OCI_MANIFEST: "OCI ", DOCKER_MANIFEST: "Docker ", None: ""}
    assert lines[0] == f"{makes[stated]}image manifest"
    assert "1 layer, 1.2 kB (1,234 bytes)" in lines


def test_contradictions() -> None:
    """What clients refuse, because it could be taken for two things, is said."""
    document = manifest(mediaType=OCI_INDEX, manifests=[])
    said = " ".join(described(document, OCI_MANIFEST))
    assert f"but the Content-Type header says {OCI_MANIFEST}" in said
    assert "but it has layers or a config as well" in said


@pytest.mark.parametrize(
    ("media_type", "word"),
    [
        (LAYER.replace("gzip", "zstd"), "tar+zstd"),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", "tar+gzip"),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "foreign tar+gzip",
        ),
        ("application/vnd.in-toto+json", "in-toto"),
        ("application/vnd.cncf.helm.chart.v1.tar+gzip", "cncf.helm.chart.v1.ta..."),
        (DOCKER_LIST, "list"),
        (5, "5"),
        (None, "none"),
    ],
)
def test_words_for_media_types(media_type: object, word: str) -> None:
    """Short in the table, and in full below it."""
    lines = described(manifest(layers=[descriptor(mediaType=media_type)]), OCI_MANIFEST)
    (row,) = rows(lines)
    legend = lines[lines.index("types") + 1]
    assert row == f"1 {word} 1.2 kB 1,234 {DIGEST}"
    assert legend.endswith(f" {media_type or 'none'}")


def test_odd_layers() -> None:
    """What is no layer or no size is shown as it stands, and not added up."""
    sizes = (-1, True, 1 << 70)
    layers = [*map(descriptor, sizes), "x", descriptor(10)]
    lines = described(manifest(layers=layers), OCI_MANIFEST)
    assert "5 layers, 10 bytes, and 4 of no size" in lines
    assert f"1 tar+gzip -1 {DIGEST}" in lines
    assert "4 none none x" in lines
    lines = described(manifest(layers={}, config={"mediaType": {}}), OCI_MANIFEST)
    assert lines[-2:] == ["0 layers, 0 bytes", "none"]
    assert "none, {}" in lines


def test_very_many_layers() -> None:
    """The total is that of all, and the table has an end."""
    lines = described(manifest(layers=[descriptor(1)] * 501), OCI_MANIFEST)
    assert "501 layers, 501 bytes" in lines
    assert "... and 1 more" in lines
    assert not any(line.startswith("501 tar") for line in lines)


def test_schema_1_is_left_to_the_other_views() -> None:
    """It is built in another way, and no client takes it any more."""
    media_type = "application/vnd.docker.distribution.manifest.v1+json"
    body = b'{"schemaVersion": 1, "fsLayers": []}'
    flow = make_flow(Kind.MANIFEST, PATH, body=body, content_type=media_type)
    assert shown(flow)[0] == "JSON"


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
    entries = [
        descriptor(digest=first, mediaType=OCI_MANIFEST, platform=arm),
        descriptor(mediaType=OCI_MANIFEST, platform=windows),
        descriptor(mediaType=OCI_MANIFEST, platform=unknown, annotations=notes),
        descriptor(mediaType=OCI_INDEX, artifactType="application/vnd.x"),
        descriptor(mediaType=OCI_INDEX),
    ]
    title = {"org.opencontainers.image.title": "made\nup"}
    document = {"schemaVersion": 2, "manifests": entries, "annotations": title}
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


@pytest.mark.parametrize(
    ("media_type", "title"),
    [(OCI_INDEX, "OCI image index"), (DOCKER_LIST, "Docker manifest list")],
)
def test_index_of_nothing(media_type: str, title: str) -> None:
    """An empty list is a list."""
    lines = described({"schemaVersion": 2, "manifests": []}, media_type)
    assert lines[0] == title
    assert lines[lines.index("0 manifests, 0 bytes") + 1] == "none"
