"""Which blobs a manifest names: those, and no others, that the registry looked for."""

import json
from typing import Any

import pytest

from resolver.blob.manifest import named_blobs

OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG, LAYER, SECRET = (f"sha256:{sign * 64}" for sign in "abc")


def described(digest: str, media_type: str = LAYER_TYPE, **more: Any) -> dict[str, Any]:
    """Return a descriptor."""
    return {"mediaType": media_type, "digest": digest, "size": 3} | more


def manifest(**more: Any) -> dict[str, Any]:
    """Return a manifest of a config and a layer."""
    return {
        "schemaVersion": 2,
        "config": described(CONFIG, "application/vnd.oci.image.config.v1+json"),
        "layers": [described(LAYER)],
    } | more


def blobs(payload: Any, media_type: str = OCI) -> list[str]:
    """Return what is read."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return list(named_blobs(media_type, text))


@pytest.mark.parametrize("media_type", [OCI, DOCKER, f"{OCI}; charset=utf-8"])
def test_config_and_layers_are_named(media_type: str) -> None:
    """By both kinds of image manifest."""
    assert blobs(manifest(), media_type) == [CONFIG, LAYER]


@pytest.mark.parametrize(
    "more",
    [
        {"blobs": [described(SECRET)]},
        {"manifests": [described(SECRET)]},
        {"subject": described(SECRET)},
        {"layers": [described(SECRET, urls=["https://example.com"])]},
        {"layers": [described(SECRET, URLs=["https://example.com"])]},
        {"layers": [described(SECRET, f"{LAYER_TYPE}.foreign")]},
        {
            "layers": [
                described(
                    SECRET, "application/vnd.oci.image.layer.nondistributable.v1.tar"
                )
            ]
        },
        {"layers": [{"digest": SECRET}]},
        {"layers": [SECRET, None, 5, [SECRET]]},
        {"layers": {"digest": SECRET}},
        {"layers": [described(f"{SECRET}\n")]},
    ],
)
def test_what_a_registry_does_not_look_for_is_not_named(more: dict[str, Any]) -> None:
    """It may be anybody's, so naming it in a manifest of one's own wins nothing."""
    assert SECRET not in blobs(manifest(**more))


@pytest.mark.parametrize("name", ["layers", "Layers", "LAYERS", "layer\u017f"])
@pytest.mark.parametrize("is_first", [True, False])
def test_name_that_stands_there_twice(name: str, *, is_first: bool) -> None:
    """A registry reads the last of these as its layers, in any case."""
    layers = json.dumps([described(SECRET)])
    pairs = [f'"layers": {layers}', f"{json.dumps(name)}: [{json.dumps(LAYER)}]"]
    text = "{" + ", ".join(pairs if is_first else reversed(pairs)) + "}"
    assert blobs(text.encode()) == []


@pytest.mark.parametrize("name", ["digest", "Digest", "DIGEST"])
def test_digest_that_stands_there_twice(name: str) -> None:
    """So it is within a layer."""
    layer = f'{{"mediaType": "{LAYER_TYPE}", "digest": "{SECRET}", "{name}": "x"}}'
    assert blobs(f'{{"layers": [{layer}]}}'.encode()) == []


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
def test_other_types_name_none(media_type: str) -> None:
    """Blobs of theirs are asked for one by one."""
    assert blobs(manifest(), media_type) == []


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_names_none(text: bytes) -> None:
    """Whatever it is."""
    assert blobs(text) == []


def test_too_many_name_none() -> None:
    """No image has as many layers."""
    layers = [described(f"sha256:{number:064}") for number in range(1001)]
    assert blobs(manifest(layers=layers)) == []
