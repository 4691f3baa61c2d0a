"""The media types of image manifests, and what they are called in a word.

https://github.com/opencontainers/image-spec/blob/main/media-types.md and
https://distribution.github.io/distribution/spec/manifest-v2-2/
"""

from collections.abc import Mapping

from mitm.view.line import shown

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OBSOLETE = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
"""Schema 1, which has another structure, and which clients take no more."""
MANIFESTS: Mapping[str, str] = {
    OCI_MANIFEST: "OCI image manifest",
    OCI_INDEX: "OCI image index",
    DOCKER_MANIFEST: "Docker image manifest",
    DOCKER_LIST: "Docker manifest list",
}
INDEXES = (OCI_INDEX, DOCKER_LIST)
IMAGE_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_OCI = "application/vnd.oci.image.layer.v1."
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1."
_DOCKER = "application/vnd.docker.image.rootfs."
_WORDS = {
    OCI_MANIFEST: "manifest",
    OCI_INDEX: "index",
    DOCKER_MANIFEST: "manifest",
    DOCKER_LIST: "list",
    _OCI + "tar": "tar",
    _OCI + "tar+gzip": "tar+gzip",
    _OCI + "tar+zstd": "tar+zstd",
    _OCI_FOREIGN + "tar": "foreign tar",
    _OCI_FOREIGN + "tar+gzip": "foreign tar+gzip",
    _OCI_FOREIGN + "tar+zstd": "foreign tar+zstd",
    _DOCKER + "diff.tar": "tar",
    _DOCKER + "diff.tar.gzip": "tar+gzip",
    _DOCKER + "diff.tar.zstd": "tar+zstd",
    _DOCKER + "foreign.diff.tar": "foreign tar",
    _DOCKER + "foreign.diff.tar.gzip": "foreign tar+gzip",
    "application/vnd.oci.empty.v1+json": "empty",
    "application/vnd.in-toto+json": "in-toto",
}
"""A *foreign* layer is to be had at its own URLs, and in no registry."""
_WORD_LENGTH_MAX = 24


def word(media_type: object) -> str:
    """Return what fits into a column."""
    if not isinstance(media_type, str):
        return shown(media_type, _WORD_LENGTH_MAX)
    if name := _WORDS.get(media_type):
        return name
    subtype = media_type.rpartition("/")[2].removeprefix("vnd.")
    if len(subtype) > _WORD_LENGTH_MAX:
        subtype = f"{subtype[: _WORD_LENGTH_MAX - 3]}..."
    return shown(subtype)
