"""A manifest reads as what it consists of, and its digest is checked."""

import hashlib
import json

import pytest

from localcloud import LocalCloud
from localcloud.image import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from mitm.story.record import Kind
from tests.mitm.view.document import (
    CONFIG,
    LAYER,
    PATH,
    described,
    descriptor,
    manifest,
    pulled,
    rows,
    seen,
)
from tests.mitm.view.sample import make_flow, shown
from tests.resolver.fake import DIGEST


def test_every_image_of_the_registry(cloud: LocalCloud) -> None:
    """Manifests and indexes of both makes, as the registry answers them."""
    titles = set()
    for image in cloud.images:
        answer = pulled(cloud, image.repository, "manifests/latest")
        document = json.loads(answer.body)
        lines = seen(answer, Kind.MANIFEST, f"/v2/{image.repository}/manifests/latest")
        titles.add(lines[0])
        assert f"digest {image.digest}" in lines
        assert "computed, and the same as Docker-Content-Digest" in lines
        entries = document.get("layers") or document["manifests"]
        total = sum(entry["size"] for entry in entries)
        assert any(f"{total:,} bytes" in line for line in lines)
        for number, entry in enumerate(entries, 1):
            row = rows(lines)[number - 1]
            assert row.startswith(f"{number} ")
            assert row.endswith(f" {entry['size']:,} {entry['digest']}")
    assert titles == {
        "OCI image manifest",
        "OCI image index",
        "Docker image manifest",
        "Docker manifest list",
    }


def test_table_of_layers() -> None:
    """Numbers are flushed right, so that the large layer is seen at once."""
    layers = [descriptor(size) for size in (7, 1_000, 104_857_600)]
    body = json.dumps(manifest(layers=layers)).encode()
    text = shown(make_flow(Kind.MANIFEST, PATH, body=body, content_type=OCI_MANIFEST))
    begin = text[1].index("3 layers")
    assert text[1][begin:].splitlines() == [
        "3 layers, 104.9 MB (104,858,607 bytes)",
        "  #  type          size        bytes  digest",
        f"  1  tar+gzip       7 B            7  {DIGEST}",
        f"  2  tar+gzip    1.0 kB        1,000  {DIGEST}",
        f"  3  tar+gzip  104.9 MB  104,857,600  {DIGEST}",
        " ",
        "types",
        f"  tar+gzip  {LAYER}",
    ]
    assert max(map(len, text[1].splitlines())) <= 120


def test_platform_is_not_guessed() -> None:
    """A manifest does not say for which platform it is, and neither does the view."""
    lines = described(manifest(), OCI_MANIFEST)
    assert "platform not in a manifest: it stands in the config blob" in lines
    assert "500 bytes, " + CONFIG in lines


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


def test_digest_without_a_header() -> None:
    """There is nothing to compare with then."""
    lines = described(manifest(), OCI_MANIFEST)
    assert "computed; the answer has no Docker-Content-Digest" in lines


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
