"""The folder of blobs: what it serves, what it removes, and what it survives."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.blob.folder import (
    CHECKED_SECONDS,
    SCAN_SECONDS,
    Blob,
    Damaged,
    Entry,
    Folder,
    is_known,
)
from resolver.grammar.reference import Digest
from tests.resolver.blob.work import digest_of

SIZE_MAX = 10_000
BLOB = b"a blob" * 100


class Clock:
    """A clock that goes on a second whenever it is looked at, or is put forward."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the seconds since the epoch."""
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> Folder:
    """An empty folder."""
    return Folder(tmp_path, SIZE_MAX, clock=clock)


def keep(folder: Folder, content: bytes) -> Digest:
    """Put a blob into the folder."""
    digest = digest_of(content)
    partial = folder.begin(digest, len(content))
    partial.write(content)
    partial.accept()
    partial.end()
    return digest


def content_of(blob: Blob | None) -> bytes:
    """Return what is read."""
    assert blob
    return os.pread(blob.fd, blob.wait(0), 0)


def blobs_in(path: Path) -> list[Path]:
    """Return the files that are under a digest."""
    return [file for file in (path / "blobs").rglob("*") if file.is_file()]


def test_blob_is_served_as_it_came(folder: Folder, tmp_path: Path) -> None:
    """It stands where an OCI image layout has it (C6), and needs no second look."""
    digest = keep(folder, BLOB)
    blob = folder.open(digest)
    assert blob
    assert blob.is_checked
    assert content_of(blob) == BLOB
    assert blobs_in(tmp_path) == [tmp_path / "blobs/sha256" / digest.partition(":")[2]]
    assert json.loads((tmp_path / "oci-layout").read_text()) == {
        "imageLayoutVersion": "1.0.0"
    }


def test_what_makes_it_a_layout_is_not_overwritten(tmp_path: Path) -> None:
    """Another tool may have an index there."""
    (tmp_path / "index.json").write_text("{}")
    Folder(tmp_path, SIZE_MAX)
    assert (tmp_path / "index.json").read_text() == "{}"


def test_other_users_cannot_read_a_new_folder(tmp_path: Path) -> None:
    """Images may be private; who made the folder before has decided."""
    new, old = tmp_path / "new", tmp_path / "old"
    old.mkdir()
    old.chmod(0o755)
    for path in (new, old):
        Folder(path, SIZE_MAX)
    assert [path.stat().st_mode & 0o777 for path in (new, old)] == [0o700, 0o755]


def test_partial_blob_is_under_no_digest(folder: Folder, tmp_path: Path) -> None:
    """Nor is there anything of it once it is given up (C1)."""
    partial = folder.begin(digest_of(BLOB), len(BLOB))
    partial.write(BLOB[:50])
    assert folder.open(digest_of(BLOB)) is None
    assert not blobs_in(tmp_path)
    partial.end()
    assert not list((tmp_path / "partial").iterdir())
    assert folder.kept.size == 0


@pytest.mark.parametrize("content", [BLOB[:-1], BLOB[:-1] + b"x", b""])
def test_other_bytes_are_not_accepted(
    folder: Folder, tmp_path: Path, content: bytes
) -> None:
    """Too few, or others than the digest says."""
    partial = folder.begin(digest_of(BLOB), len(BLOB))
    partial.write(content)
    with pytest.raises(Damaged):
        partial.accept()
    partial.end()
    assert not blobs_in(tmp_path)
    assert folder.kept.counts.damaged == 1


def test_blob_of_others_is_checked_first(tmp_path: Path) -> None:
    """Another process, or another tool, put it there."""
    digest = keep(Folder(tmp_path, SIZE_MAX), BLOB)
    other = Folder(tmp_path, SIZE_MAX)
    blob = other.open(digest)
    assert blob
    assert not blob.is_checked
    assert other.check(digest, blob)
    again = other.open(digest)
    assert again
    assert again.is_checked


def flip(path: Path) -> None:
    """Change a bit."""
    content = bytearray(path.read_bytes())
    content[30] ^= 4
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Lose the end."""
    os.truncate(path, 10)


@pytest.mark.parametrize("damage", [flip, truncate])
def test_damaged_blob_is_removed(
    folder: Folder,
    tmp_path: Path,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not known as checked any more, and a check finds it (C1)."""
    digest = keep(folder, BLOB)
    damage(*blobs_in(tmp_path))
    blob = folder.open(digest)
    assert blob
    assert not blob.is_checked
    assert not folder.check(digest, blob)
    assert folder.open(digest) is None
    assert folder.kept.counts.damaged == 1
    assert f"the blob {digest} in the cache was damaged" in caplog.text


def test_blob_is_checked_again_after_a_day(folder: Folder, clock: Clock) -> None:
    """A disk may lose bits without a change of the file."""
    digest = keep(folder, BLOB)
    clock.now += CHECKED_SECONDS
    blob = folder.open(digest)
    assert blob
    assert not blob.is_checked


def test_least_recently_used_goes_first(folder: Folder) -> None:
    """And no more than has to, for the size is bounded (C5)."""
    contents = [bytes([number]) * 3000 for number in range(3)]
    oldest, used, newest = [keep(folder, content) for content in contents]
    assert folder.open(oldest)
    added = keep(folder, b"x" * 3000)
    kept = {entry.digest for entry in folder.entries()}
    assert kept == {oldest, newest, added}
    assert used not in kept
    assert folder.kept.size == 9000
    assert (folder.kept.counts.evictions, folder.kept.counts.evicted_bytes) == (1, 3000)


def test_use_by_another_process_counts(tmp_path: Path, clock: Clock) -> None:
    """It is the file's time of last access that says so."""
    ours, theirs = (Folder(tmp_path, SIZE_MAX, clock=clock) for _ in range(2))
    contents = [bytes([number]) * 4000 for number in range(2)]
    first, second = [keep(ours, content) for content in contents]
    assert theirs.open(first)
    keep(ours, b"x" * 4000)
    assert ours.open(first)
    assert ours.open(second) is None


def test_what_another_process_adds_counts_at_once(tmp_path: Path) -> None:
    """Where it takes no time to look."""
    ours, theirs = (Folder(tmp_path, SIZE_MAX, clock=lambda: 1.8e9) for _ in range(2))
    for number in range(3):
        keep(ours, bytes([number]) * 2000)
        keep(theirs, bytes([number + 100]) * 2000)
        assert sum(entry.size for entry in ours.entries()) <= SIZE_MAX


def test_nobody_looks_all_the_time(
    folder: Folder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it takes a second, as by this clock, it is done once a minute."""
    looks: list[int] = []
    prune = folder.prune

    def count(size_max: int) -> list[Entry]:
        looks.append(size_max)
        return prune(size_max)

    monkeypatch.setattr(folder, "prune", count)
    for number in range(4):
        keep(folder, bytes([number]))
    assert len(looks) == 1
    clock.now += SCAN_SECONDS
    keep(folder, BLOB)
    assert len(looks) == 2


def test_blob_does_not_vanish_under_its_reader(folder: Folder) -> None:
    """Whoever reads it has it to the end (C5)."""
    blob = folder.open(keep(folder, BLOB))
    Folder(folder.path, SIZE_MAX).prune(0)
    assert list(folder.entries()) == []
    assert content_of(blob) == BLOB


def test_blob_that_is_being_read_is_not_evicted(folder: Folder) -> None:
    """It would make no room; others do, though they were used later."""
    read, later = [keep(folder, content * 3000) for content in (b"r", b"l")]
    blob = folder.open(read)
    assert folder.open(later)
    keep(folder, b"x" * 5000)
    assert content_of(blob) == content_of(folder.open(read))
    assert folder.open(later) is None


@pytest.mark.parametrize("is_removed", [False, True])
def test_blobs_that_are_being_read_count(folder: Folder, *, is_removed: bool) -> None:
    """The disk has their bytes until their readers end, removed or not (C5)."""
    digests = [keep(folder, bytes([n]) * 3000) for n in range(3)]
    readers = [folder.open(digest) for digest in [*digests, *digests]]
    if is_removed:
        Folder(folder.path, SIZE_MAX).prune(0)
    folder.prune(SIZE_MAX)
    assert folder.kept.size == 9000
    with pytest.raises(OSError, match="or read leave no room"):
        folder.begin(digest_of(BLOB), 4000)
    assert folder.kept.counts.evictions == 0
    readers.clear()
    keep(folder, b"x" * 4000)
    assert folder.kept.size == (4000 if is_removed else 10_000)


def test_blob_that_is_given_up_under_its_reader(folder: Folder) -> None:
    """It counts like one that was removed."""
    partial = folder.begin(digest_of(BLOB), 8000)
    partial.end()
    folder.prune(SIZE_MAX)
    assert folder.kept.size == 8000
    del partial
    folder.prune(SIZE_MAX)
    assert folder.kept.size == 0


def test_partial_blobs_count(folder: Folder) -> None:
    """What is being written has its room, also where several are."""
    partials = [folder.begin(digest_of(bytes(n)), 4000) for n in range(2)]
    with pytest.raises(OSError, match="leave no room"):
        folder.begin(digest_of(BLOB), 4000)
    assert folder.kept.size == 8000
    for partial in partials:
        partial.end()
    keep(folder, b"x" * 4000)


def test_nothing_is_evicted_in_vain(folder: Folder) -> None:
    """Where blobs that are being fetched leave no room, to evict others makes none."""
    digest = keep(folder, BLOB)
    partials = [folder.begin(digest_of(bytes(n)), 4000) for n in range(2)]
    with pytest.raises(OSError, match="leave no room"):
        folder.begin(digest_of(b"x"), 4000)
    assert folder.open(digest)
    assert folder.kept.counts.evictions == 0
    for partial in partials:
        partial.end()


def test_room_is_taken_on_file_systems_that_reserve_none(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that look at the folder count what is being fetched with its full size."""
    monkeypatch.setattr(os, "posix_fallocate", fail_with(errno.EOPNOTSUPP))
    partial = folder.begin(digest_of(b"x"), 8000)
    other = Folder(folder.path, SIZE_MAX)
    other.prune(SIZE_MAX)
    assert other.kept.size == 8000
    partial.end()


def test_blob_larger_than_the_cache(folder: Folder) -> None:
    """It makes nothing vanish."""
    digest = keep(folder, BLOB)
    with pytest.raises(OSError, match="the whole cache may have"):
        folder.begin(digest_of(b""), SIZE_MAX + 1)
    assert folder.open(digest)


def test_full_disk_makes_old_blobs_go(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that makes room; the bound was more than there is."""
    digest = keep(folder, BLOB)
    reserve = os.posix_fallocate

    def limited(fd: int, offset: int, length: int) -> None:
        if folder.open(digest):
            raise OSError(errno.ENOSPC, "No space left on device")
        reserve(fd, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", limited)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([1] * 10))
    keep(folder, b"x" * 300)
    assert folder.open(digest) is None


def test_full_disk_of_others(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is removed in vain, and nothing is left behind."""
    digest = keep(folder, BLOB)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([1] * 10))
    with pytest.raises(OSError, match="No space left"):
        folder.begin(digest_of(b"x"), 5000)
    assert folder.open(digest)
    assert folder.kept.size == len(BLOB)


def test_interruption_while_room_is_taken(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves nothing behind."""

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "posix_fallocate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        folder.begin(digest_of(BLOB), len(BLOB))
    assert not list((tmp_path / "partial").iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """But not what another one is writing."""
    script = (
        "import os, sys; from pathlib import Path;"
        "from resolver.blob.folder import Folder;"
        "folder = Folder(Path(sys.argv[1]), 10_000);"
        "partial = folder.begin('sha256:' + 'a' * 64, 100);"
        "partial.write(b'x' * 50); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (left,) = (tmp_path / "partial").iterdir()
    writing = Folder(tmp_path, SIZE_MAX).begin(digest_of(BLOB), len(BLOB))
    assert not left.exists()
    Folder(tmp_path, SIZE_MAX)
    writing.write(BLOB)
    writing.accept()
    assert content_of(Folder(tmp_path, SIZE_MAX).open(digest_of(BLOB))) == BLOB


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")]
)
def test_what_is_no_file_is_no_blob(
    folder: Folder, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Somebody may have put it there; nobody waits for it, and it leads nowhere."""
    digest = digest_of(BLOB)
    make(tmp_path / "blobs/sha256" / digest.partition(":")[2])
    assert folder.open(digest) is None
    assert list(folder.entries()) == []


@pytest.mark.parametrize(
    ("digest", "can"),
    [
        ("sha256:" + "a" * 64, True),
        ("sha512:" + "a" * 128, True),
        ("blake3:" + "a" * 64, False),
    ],
)
def test_digests_that_can_be_checked(digest: str, *, can: bool) -> None:
    """Others go past the cache."""
    assert is_known(Digest(digest)) == can


def test_files_of_others_stay(folder: Folder, tmp_path: Path) -> None:
    """Whatever they are called, and wherever they are."""
    others = [tmp_path / name for name in ("partial/mine.txt", "blobs/README", "x")]
    for other in others:
        other.write_text("mine")
    Folder(tmp_path, SIZE_MAX)
    folder.prune(0)
    assert all(other.exists() for other in others)


def test_folder_that_somebody_emptied(folder: Folder, tmp_path: Path) -> None:
    """It is made anew, and goes on."""
    keep(folder, BLOB)
    shutil.rmtree(tmp_path)
    assert folder.open(digest_of(BLOB)) is None
    assert folder.open(keep(folder, BLOB))


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is told at once."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="File exists"):
        Folder(tmp_path / "file", SIZE_MAX)


def fail_with(number: int) -> Callable[..., None]:
    """Return a system call that fails so."""

    def call(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_blob_that_cannot_be_read(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector is damage like any other."""
    digest = keep(folder, BLOB)
    (path,) = blobs_in(tmp_path)
    os.utime(path)
    blob = folder.open(digest)
    assert blob
    monkeypatch.setattr(os, "pread", fail_with(errno.EIO))
    assert not folder.check(digest, blob)
    assert folder.open(digest) is None
    assert folder.kept.counts.damaged == 1


def test_file_system_that_reserves_no_room(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written to all the same."""
    monkeypatch.setattr(os, "posix_fallocate", fail_with(errno.EOPNOTSUPP))
    assert content_of(folder.open(keep(folder, BLOB))) == BLOB
