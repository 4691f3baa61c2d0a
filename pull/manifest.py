"""Manifests: of an image its parts, of an index the image for a platform.

https://github.com/opencontainers/image-spec/blob/main/manifest.md and image-index.md,
and docker's schema 2, which has the same fields.
"""

import hashlib
import platform
from dataclasses import dataclass
from typing import Any

from cause.finding import Cause, shown
from pull.fault import Fault
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import parse_digest

IMAGES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
ACCEPT = ", ".join(IMAGES + INDEXES)
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"
_MACHINES = {
    "x86_64": "amd64",
    "i686": "386",
    "i386": "386",
    "aarch64": "arm64",
    "armv6l": "arm/v6",
    "armv7l": "arm/v7",
    "armv8l": "arm/v7",
}
_VARIANTS = {"arm64": "v8"}
"""What is meant where none is named."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob or a manifest is checked by."""

    media_type: str
    digest: str
    size: int

    @property
    def short(self) -> str:
        """Enough of the digest to tell it from others."""
        return self.digest.partition(":")[2][:12]

    def hash(self) -> "hashlib._Hash":
        """Return what its bytes are put into.

        Raises:
            Fault: there is no such algorithm.

        """
        algorithm = self.digest.partition(":")[0]
        if algorithm not in hashlib.algorithms_available:
            raise _fault(
                f"{self.digest} cannot be checked: Python knows no {algorithm}",
                "push the image with digests of sha256",
            )
        return hashlib.new(algorithm)

    def fits(self, digest: "hashlib._Hash") -> bool:
        """Return whether it is the digest of what was put into the hash."""
        return f"{self.digest.partition(':')[0]}:{digest.hexdigest()}" == self.digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it was served, and what it names."""

    descriptor: Descriptor
    content: bytes
    payload: dict[str, Any]

    @property
    def is_index(self) -> bool:
        """Whether it leads to other manifests."""
        return self.descriptor.media_type in INDEXES

    @property
    def blobs(self) -> list[Descriptor]:
        """The configuration and the layers, each once.

        Raises:
            Fault: it names none.

        """
        layers = self.payload.get("layers") or []
        if not isinstance(layers, list):
            sentence = "the layers of the manifest are no list"
            raise _fault(sentence, "push the image anew")
        rows = [self.payload.get("config"), *layers]
        return list({(each := _descriptor(row)).digest: each for row in rows}.values())

    @property
    def images(self) -> list[Descriptor]:
        """The images of an index, each once, without what is attached to them.

        Raises:
            Fault: there is none.

        """
        rows = [row for row in self._rows if "unknown" not in _platform(row)]
        if not rows:
            raise _fault("there is no image in the index", "push it anew")
        return list({(each := _descriptor(row)).digest: each for row in rows}.values())

    @property
    def _rows(self) -> list[Any]:
        """What an index leads to."""
        rows = self.payload.get("manifests")
        return rows if isinstance(rows, list) else []

    def choose(self, wanted: str) -> Descriptor:
        """Return the image for a platform, of an index.

        Raises:
            Fault: there is none; the message says what there is.

        """
        found: dict[str, object] = {}
        for row in self._rows:
            if (name := _platform(row)) and "unknown" not in name:
                found.setdefault(name, row)
        for name, row in found.items():
            if _whole(wanted) in (_whole(name), name):
                return _descriptor(row)
        raise _fault(
            f"there is no image for {shown(wanted)}; there are"
            f" {shown(', '.join(found)) or 'none at all'}",
            "choose one of them by --platform",
        )


def this_platform() -> str:
    """Return what containers on this machine run on, by default."""
    machine = platform.machine().lower()
    return f"linux/{_MACHINES.get(machine, machine)}"


def read_manifest(content: bytes, told_type: str, digest: str) -> Manifest:
    """Return the manifest.

    Raises:
        Fault: it is none that can be pulled.

    """
    kind = told_type.partition(";")[0].strip()
    try:
        payload = parse_payload(content)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise _fault(
            f"what is served as the manifest, {shown(kind) or 'of no type'}, is no JSON"
            " object",
            "check host and port, and whether something on the way changes answers",
        )
    if kind.startswith(_SCHEMA1) or payload.get("schemaVersion") == 1:
        raise _fault(
            "the manifest is of docker's schema 1, which no client pulls any more",
            "push the image anew with a docker of today",
        )
    if kind not in IMAGES + INDEXES:
        # Some stores serve it as any JSON; then it says itself what it is.
        own = payload.get("mediaType")
        if kind != "application/json" or own not in IMAGES + INDEXES:
            raise _fault(
                f"the manifest is of the unknown type {shown(str(own or kind))}",
                "it may be no image but another artifact; oras pulls these",
            )
        kind = str(own)
    return Manifest(Descriptor(kind, digest, len(content)), content, payload)


def _descriptor(row: object) -> Descriptor:
    match row:
        case {"digest": str(digest), "size": int(size), **rest} if (
            parse_digest(digest) and size >= 0 and not isinstance(size, bool)
        ):
            return Descriptor(str(rest.get("mediaType", "")), digest, size)
    raise _fault(
        f"the manifest names a part without digest or size: {shown(str(row))}",
        "push the image anew",
    )


def _platform(row: object) -> str:
    match row:
        case {"platform": {"os": str(system), "architecture": str(machine), **rest}}:
            variant = rest.get("variant")
            return "/".join((system, machine, *([str(variant)] if variant else [])))
    return ""


def _whole(name: str) -> str:
    """Return the platform with the variant that it has by default."""
    parts = name.split("/")
    machine = parts[1] if len(parts) == 2 else ""  # noqa: PLR2004 - os/architecture
    return f"{name}/{_VARIANTS[machine]}" if machine in _VARIANTS else name


def _fault(sentence: str, advice: str) -> Fault:
    return Fault(Cause.MANIFEST, sentence, advice)
