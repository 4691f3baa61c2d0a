"""Sample images, down to the last byte.

The same description makes the same bytes, so that digests stay the same from one
start to the next on the same machine.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.executable import greeting

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_NOTE_TYPE = "application/vnd.localcloud.note.v1+text"
_CREATED = "2022-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Blob:
    """Content that a registry stores under its digest."""

    repository: str
    content: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, with the tag it goes by if it has one."""

    repository: str
    tag: str | None
    media_type: str
    content: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Image:
    """The content of one repository, manifests after those they refer to."""

    repository: str
    manifests: tuple[Manifest, ...]
    blobs: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        """The digest of the manifest that is tagged."""
        return next(m.digest for m in self.manifests if m.tag is not None)


@dataclass(frozen=True, slots=True)
class Description:
    """The properties of an image; several architectures make an index."""

    repository: str
    application: str
    version: str
    service: str
    architectures: tuple[str, ...]
    is_oci: bool = False
    ballast_layers: int = 0
    ballast_bytes: int = 0
    note: str = ""
    """Attached to the image as an artifact, which ``referrers`` then lists."""

    def text(self, architecture: str) -> str:
        """Return what the image says when it runs."""
        return (
            f"{self.application} {self.version}, service {self.service},"
            f" for linux/{architecture}\n"
        )


def build_image(description: Description) -> Image:
    """Make the blobs and manifests of an image."""
    blobs: dict[str, bytes] = {}
    is_index = len(description.architectures) > 1
    manifests = []
    for architecture in description.architectures:
        tag = None if is_index else "latest"
        manifests.append(_build_manifest(description, architecture, tag, blobs))
    if is_index:
        manifests.append(_build_index(description, manifests))
    if description.note:
        manifests.append(_build_note(description, manifests[-1], blobs))
    return Image(
        description.repository,
        tuple(manifests),
        tuple(Blob(description.repository, c, d) for d, c in blobs.items()),
    )


def digest_of(content: bytes) -> str:
    """Return the digest that content is stored under."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _build_manifest(
    description: Description,
    architecture: str,
    tag: str | None,
    blobs: dict[str, bytes],
) -> Manifest:
    text = description.text(architecture)
    # The first layer is the same in all images, as a base image's would be.
    layers = [
        _tar({"etc/os-release": (b"ID=localcloud\nNAME=localcloud\n", 0o644)}),
        _tar(
            {
                "hello": (greeting(architecture, text), 0o755),
                "release.txt": (text.encode(), 0o644),
            }
        ),
    ]
    for number in range(description.ballast_layers):
        # Random bytes do not compress: a pull takes its time.
        seed = f"{description.repository}/{architecture}/{number}"
        content = random.Random(seed).randbytes(description.ballast_bytes)  # noqa: S311
        layers.append(_tar({f"ballast/{number}": (content, 0o644)}))
    config = _json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": _CREATED,
            "config": {
                "Cmd": ["/hello"],
                "Labels": {"io.balena.release": description.version},
            },
            "rootfs": {"type": "layers", "diff_ids": list(map(digest_of, layers))},
            "history": [{"created": _CREATED, "created_by": "localcloud"}]
            * len(layers),
        }
    )
    is_oci = description.is_oci
    layer_type = _OCI_LAYER if is_oci else _DOCKER_LAYER
    archives = [gzip.compress(layer, compresslevel=1, mtime=0) for layer in layers]
    media_type = OCI_MANIFEST if is_oci else DOCKER_MANIFEST
    return _manifest(
        description.repository,
        tag,
        media_type,
        {
            "config": _store(blobs, _OCI_CONFIG if is_oci else _DOCKER_CONFIG, config),
            "layers": [_store(blobs, layer_type, content) for content in archives],
        },
    )


def _build_index(description: Description, children: list[Manifest]) -> Manifest:
    return _manifest(
        description.repository,
        "latest",
        OCI_INDEX if description.is_oci else DOCKER_LIST,
        {
            "manifests": [
                {
                    **descriptor(child),
                    "platform": {"architecture": architecture, "os": "linux"},
                }
                for child, architecture in zip(
                    children, description.architectures, strict=True
                )
            ]
        },
    )


def _build_note(
    description: Description, subject: Manifest, blobs: dict[str, bytes]
) -> Manifest:
    return _manifest(
        description.repository,
        None,
        OCI_MANIFEST,
        {
            "artifactType": _NOTE_TYPE,
            "config": _store(blobs, "application/vnd.oci.empty.v1+json", b"{}"),
            "layers": [_store(blobs, _NOTE_TYPE, description.note.encode())],
            "subject": descriptor(subject),
        },
    )


def descriptor(manifest: Manifest) -> dict[str, object]:
    """Return how another manifest refers to this one."""
    return {
        "mediaType": manifest.media_type,
        "size": len(manifest.content),
        "digest": manifest.digest,
    }


def _store(blobs: dict[str, bytes], media_type: str, content: bytes) -> object:
    digest = digest_of(content)
    blobs[digest] = content
    return {"mediaType": media_type, "size": len(content), "digest": digest}


def _manifest(
    repository: str, tag: str | None, media_type: str, fields: Mapping[str, object]
) -> Manifest:
    content = _json({"schemaVersion": 2, "mediaType": media_type, **fields})
    return Manifest(repository, tag, media_type, content, digest_of(content))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
