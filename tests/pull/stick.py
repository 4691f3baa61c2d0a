"""An OCI image layout as somebody may bring it on a stick."""

from pathlib import Path

from tests.pull.site import digest_of


def stick_of(folder: Path, *contents: bytes) -> Path:
    """Make a layout that has these blobs, and return its folder."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    for content in contents:
        place_of(folder, content).write_bytes(content)
    return folder


def place_of(folder: Path, content: bytes) -> Path:
    """Return where a layout has a blob."""
    return folder / "blobs" / digest_of(content).replace(":", "/")
