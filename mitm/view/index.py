"""The lines about an image index, also one of referrers: a row for each manifest.

https://github.com/opencontainers/image-spec/blob/main/image-index.md
"""

from collections.abc import Mapping
from typing import Any

from mitm.view.descriptor import (
    COLUMNS,
    Descriptor,
    annotations,
    entries,
    read_descriptors,
    total,
    types,
)
from mitm.view.line import cell, rest, section, table

_REFERENCE = "vnd.docker.reference."
"""BuildKit's annotations of an attestation: its type, and the digest that it is for."""
_NOTE = "  a size is that of the manifest alone, without the image behind it"


def describe_index(document: Mapping[str, Any]) -> list[str]:
    """Return the table of manifests, their total, and all annotations."""
    listed = entries(document.get("manifests"))
    manifests = read_descriptors(listed)
    numbers = {
        digest: number
        for number, manifest in enumerate(manifests, 1)
        if isinstance(digest := manifest.entry.get("digest"), str)
    }
    rows = [
        (str(number), cell(_purpose(manifest, numbers)), *manifest.row)
        for number, manifest in enumerate(manifests, 1)
    ]
    lines = table(("#", "platform", *COLUMNS), rows, right=(0, 3, 4))
    return [
        *section(
            total("manifest", listed),
            [*lines, *rest(listed), _NOTE] if rows else ["  none"],
        ),
        *types(manifests),
        *annotations(document, manifests),
    ]


def _purpose(manifest: Descriptor, numbers: Mapping[str, int]) -> str:
    """Return the platform, or what else the manifest is there for."""
    found = manifest.entry.get("annotations")
    notes = found if isinstance(found, dict) else {}
    if notes.get(_REFERENCE + "type") == "attestation-manifest":
        subject = notes.get(_REFERENCE + "digest")
        number = numbers.get(subject) if isinstance(subject, str) else None
        return "attestation" if number is None else f"attestation of {number}"
    if artifact := manifest.entry.get("artifactType"):
        return f"artifact {artifact}"
    return _platform(manifest.entry.get("platform"))


def _platform(value: object) -> str:
    """Return `os/architecture/variant`, and what is said of the system's version."""
    if value is None:
        return "not said"
    if not isinstance(value, dict):
        return str(value)
    parts = [value.get(name) for name in ("os", "architecture", "variant")]
    features = value.get("os.features")
    extra = [
        value.get("os.version"),
        *(features if isinstance(features, list) else []),
    ]
    name = "/".join(str(part) for part in parts if part)
    return " ".join([name, *(str(part) for part in extra if part)]) or "not said"
