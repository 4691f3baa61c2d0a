"""Sample images are real: their layers unpack and their programs run."""

import gzip
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

import pytest

from localcloud.executable import greeting
from localcloud.image import OCI_MANIFEST, Description, build_image, digest_of
from localcloud.sample import machine_architecture

DESCRIPTION = Description(
    "v2/aa", "org/app", "1.2.3+rev1", "web", ("amd64",), is_oci=True
)


def test_layers_name_the_release() -> None:
    """A text file in the image says which one it is."""
    image = build_image(DESCRIPTION)
    (manifest,) = image.manifests
    assert manifest.media_type == OCI_MANIFEST
    blobs = {blob.digest: blob.content for blob in image.blobs}
    fields = json.loads(manifest.content)
    layers = [gzip.decompress(blobs[layer["digest"]]) for layer in fields["layers"]]
    config = json.loads(blobs[fields["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [digest_of(layer) for layer in layers]
    with tarfile.open(fileobj=io.BytesIO(layers[1])) as tar:
        file = tar.extractfile("release.txt")
        assert file is not None
        with file:
            text = file.read().decode()
        assert tar.getmember("hello").mode == 0o755
        assert {member.mtime for member in tar} == {0}
    assert text == "org/app 1.2.3+rev1, service web, for linux/amd64\n"


def test_same_description_same_bytes() -> None:
    """Building twice makes the same bytes, at whatever time."""
    image = build_image(DESCRIPTION)
    assert build_image(DESCRIPTION) == image
    packed = [b.content for b in image.blobs if b.content.startswith(b"\x1f\x8b")]
    # No time of day in the gzip headers.
    assert {content[4:8] for content in packed} == {bytes(4)}


@pytest.mark.skipif(platform.system() != "Linux", reason="the programs are for Linux")
def test_program_runs_on_this_machine(tmp_path: Path) -> None:
    """The image's program writes its text and ends well."""
    program = tmp_path / "hello"
    program.write_bytes(greeting(machine_architecture(), "Grüße, org/app 1.2.3\n"))
    program.chmod(0o755)
    ran = subprocess.run([program], check=True, capture_output=True, timeout=10)
    assert ran.stdout.decode() == "Grüße, org/app 1.2.3\n"
