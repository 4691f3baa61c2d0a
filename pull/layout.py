"""An OCI image layout: a folder that skopeo, podman and others read.

::

    oci-layout                    {"imageLayoutVersion": "1.0.0"}
    index.json                    which images there are, by name
    blobs/<algorithm>/<encoded>   manifests, configurations and layers

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
Whatever has its name there is whole: files are written beside it and renamed, and the
index comes last.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, NoReturn

from cause.finding import Cause, shown
from mitm.story.quantity import describe_size
from pull.fault import Fault
from pull.manifest import INDEXES, Descriptor, Manifest

_VERSION = {"imageLayoutVersion": "1.0.0"}
_NAME = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20


class Layout:
    """A layout in a folder that is made where there is none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make it.

        Raises:
            Fault: something else is in the folder, or it cannot be written.

        """
        marker = self._folder / "oci-layout"
        with self._writing():
            self._folder.mkdir(parents=True, exist_ok=True)
            if not marker.exists():
                if any(self._folder.iterdir()):
                    raise Fault(
                        Cause.OUTPUT,
                        f"{self._folder} is neither empty nor an OCI layout",
                        "name another folder; it is made where there is none",
                    )
                self._put(marker, json.dumps(_VERSION).encode())

    def has(self, blob: Descriptor) -> bool:
        """Return whether the blob is there, and as it should be."""
        path = self._path(blob)
        if not path.is_file() or path.stat().st_size != blob.size:
            return False
        digest = blob.hash()
        with self._writing(), path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return blob.fits(digest)

    def check_room(self, size: int) -> None:
        """See whether so many bytes find room.

        Raises:
            Fault: they do not.

        """
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise _full(
                f"{describe_size(size)} are to come, and {self._folder} has room for"
                f" {describe_size(free)}"
            )

    @contextmanager
    def new(self, blob: Descriptor) -> Iterator[BinaryIO]:
        """Yield the file to write the blob to; it is there when the context ends.

        Raises:
            Fault: the disk is full, or the folder cannot be written.

        """
        path = self._path(blob)
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            with _beside(path) as file:
                yield file

    def add(self, manifest: Manifest, title: str) -> None:
        """Write the manifest, and let the index name it.

        Raises:
            Fault: it cannot be written, or what is there is no index.

        """
        with self.new(manifest.descriptor) as file:
            file.write(manifest.content)
        path = self._folder / "index.json"
        entry = {
            "mediaType": manifest.descriptor.media_type,
            "digest": manifest.descriptor.digest,
            "size": manifest.descriptor.size,
            "annotations": {_NAME: title},
        }
        with self._writing():
            others = [row for row in _images(path) if _title(row) != title]
            index = {
                "schemaVersion": 2,
                "mediaType": INDEXES[0],
                "manifests": [*others, entry],
            }
            self._put(path, json.dumps(index, indent=2).encode())

    def _path(self, blob: Descriptor) -> Path:
        return self._folder.joinpath("blobs", *blob.digest.split(":"))

    def _put(self, path: Path, content: bytes) -> None:
        with _beside(path) as file:
            file.write(content)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._explain(error)

    def _explain(self, error: OSError) -> NoReturn:
        if error.errno in (ENOSPC, EDQUOT):
            raise _full(f"{self._folder} is full: {error.strerror}") from error
        raise Fault(
            Cause.OUTPUT,
            f"{self._folder} cannot be written: {error.strerror or error}",
            "name a folder that this user may write to",
        ) from error


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes the one at the path, if all goes well."""
    # Named before it is there: whoever is interrupted in between leaves nothing.
    begun = path.with_name(f".partial-{token_hex(8)}")
    try:
        with begun.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        begun.replace(path)
    finally:
        begun.unlink(missing_ok=True)


def _images(path: Path) -> list[Any]:
    """Return what the index names so far."""
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_bytes())["manifests"])
    except (ValueError, LookupError, TypeError) as error:
        raise Fault(
            Cause.OUTPUT,
            f"{path} is no index of an OCI layout: {shown(str(error))}",
            "name another folder",
        ) from error


def _title(row: Any) -> object:
    match row:
        case {"annotations": {"org.opencontainers.image.ref.name": name}}:
            return name
    return None


def _full(sentence: str) -> Fault:
    return Fault(Cause.OUTPUT, sentence, "make room, or name a folder elsewhere")
