"""The OCI layout: whole or not there, and beside what was there before."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cause.finding import Cause
from pull.fault import Fault
from pull.layout import Layout
from pull.manifest import Descriptor
from tests.integration.tool import find_tool, require_root, run
from tests.pull.site import LAYER, NAME, Site, digest_of

BLOB = Descriptor("", digest_of(LAYER), len(LAYER))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    require_root("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    environment = {"PATH": os.environ["PATH"]}
    size = ("-t", "tmpfs", "-o", "size=1m", "tmpfs")
    run(find_tool("mount"), *size, folder, environment=environment)
    yield folder
    run(find_tool("umount"), folder, environment=environment)


def test_image_is_written(site: Site, tmp_path: Path) -> None:
    """All has its place and its digest, and nothing else is there."""
    folder = tmp_path / "some" / "image"
    site.pull(layout=Layout(folder))
    assert json.loads((folder / "oci-layout").read_text()) == {
        "imageLayoutVersion": "1.0.0"
    }
    (entry,) = json.loads((folder / "index.json").read_text())["manifests"]
    name = "org.opencontainers.image.ref.name"
    assert entry["annotations"] == {name: f"{NAME}:latest"}
    blobs = {path.name: path.read_bytes() for path in folder.glob("blobs/sha256/*")}
    assert set(blobs) == {
        digest.partition(":")[2] for digest in (entry["digest"], *site.blobs)
    }
    assert all(digest_of(blob) == f"sha256:{name}" for name, blob in blobs.items())


def test_what_is_there_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    """But it is checked, and what is damaged is fetched; other images stay."""
    layout = Layout(tmp_path)
    site.pull(layout=layout)
    count = len(site.storage.requests)
    assert len([s for s in site.pull(layout=layout) if "there already" in s]) == 2
    assert len(site.storage.requests) == count
    path = tmp_path / "blobs" / digest_of(LAYER).replace(":", "/")
    path.write_bytes(LAYER[::-1])
    site.pull(f"{site.registry.url}/{NAME}:other", layout=layout)
    assert path.read_bytes() == LAYER
    index = json.loads((tmp_path / "index.json").read_text())
    names = [list(row["annotations"].values()) for row in index["manifests"]]
    assert names == [[f"{NAME}:latest"], [f"{NAME}:other"]]


def test_nothing_is_left_of_a_pull_that_fails(site: Site, tmp_path: Path) -> None:
    """Neither a part of a blob, nor an index that leads to none."""
    site.blobs[digest_of(LAYER)] = LAYER[::-1]
    site.fault(Cause.STORAGE, layout=Layout(tmp_path))
    assert not (tmp_path / "index.json").exists()
    assert [path.stat().st_size for path in tmp_path.glob("blobs/*/*")] == [2]
    assert not list(tmp_path.rglob(".partial*"))


def test_interruption_at_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ends a pull when a file was just made leaves nothing of it."""
    layout, opened = Layout(tmp_path), Path.open

    def interrupted(path: Path, *words: Any) -> None:
        opened(path, *words).close()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "open", interrupted)
    with pytest.raises(KeyboardInterrupt), layout.new(BLOB):
        pytest.fail("the file is not open yet")
    assert not list(tmp_path.rglob(".partial*"))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("notes.txt", "is neither empty nor an OCI layout"),
        ("", "cannot be written: Not a directory"),
    ],
)
def test_folder_of_something_else(file: str, words: str, tmp_path: Path) -> None:
    """It is left as it is."""
    (tmp_path / (file or "file")).write_text("mine")
    folder = tmp_path if file else tmp_path / "file" / "image"
    with pytest.raises(Fault, match=words) as caught:
        Layout(folder).prepare()
    assert caught.value.cause is Cause.OUTPUT


def test_index_of_something_else(site: Site, tmp_path: Path) -> None:
    """It is not replaced."""
    layout = Layout(tmp_path)
    layout.prepare()
    (tmp_path / "index.json").write_text("[]")
    assert "index.json is no index" in site.fault(Cause.OUTPUT, layout=layout)
    assert (tmp_path / "index.json").read_text() == "[]"


def test_disk_too_small(small_disk: Path) -> None:
    """It is said before anything is downloaded, and while, should others fill it."""
    layout = Layout(small_disk)
    layout.prepare()
    layout.check_room(900_000)
    with pytest.raises(Fault, match=r"2\.0 GB are to come, and .* has room for 1\.0 M"):
        layout.check_room(2_000_000_000)
    with (
        pytest.raises(Fault, match="is full: No space left on device") as caught,
        layout.new(BLOB) as file,
    ):
        file.write(bytes(2_000_000))
    assert caught.value.cause is Cause.OUTPUT
    assert not list(small_disk.rglob(".partial*"))
