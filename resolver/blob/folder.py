"""The folder of blobs: what is in it is whole and right, and its size is bounded.

Rules C1, C5 and C6 of the design. It is an OCI image layout, so other tools may fill
and read it, and several processes may share it:

::

    oci-layout, index.json        ; what makes it a layout
    blobs/<algorithm>/<hex>       ; under its digest, after its bytes were checked
    partial/<hex>-<random>        ; what is being written, locked by who writes it

A file is moved from one to the other in one step, so nothing partial is ever found
under a digest. What a process did not write itself it checks before it uses it first,
and again after a day: a crash, a bad disk or another program may have been there. The
time of last access says when a blob was used last, to all processes alike.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import stat
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, RLock
from weakref import WeakSet

from cachetools import LRUCache

from resolver.blob.count import Kept
from resolver.grammar.reference import Digest, parse_digest

logger = logging.getLogger(__name__)

ALGORITHMS = ("sha256", "sha512")
"""Of those that the OCI image specification registers, what Python has."""
CHECKED_SECONDS = 86_400
"""For how long a blob counts as checked, unless its file changes."""
CHECKED_MAX = 20_000
SCAN_SECONDS = 60
"""How long the size is known at most; then it is looked what other processes have
added."""
SCAN_TIMES = 100
"""It is known for as many times as long as it took to look: 10,000 blobs take 0.1 s."""
PIECE_LENGTH = 1 << 20
"""Bytes that are read at once to check a blob."""
_PARTIAL = re.compile(r"[0-9a-f]{64}-[0-9a-f]{16}")
"""How files are called that are being written; no other is touched."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNABLE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What a file system that reserves no room says, where the C library does not do it."""

type _File = tuple[int, int]
"""Device and file."""
type _Identity = tuple[int, int, int, int]
"""Device, file, length, and when it was written last."""


class Damaged(Exception):
    """A blob is not what its digest says."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Blob:
    """A file that is open for as long as somebody has this, whatever becomes of it."""

    fd: int
    size: int
    """Bytes."""
    is_checked: bool = True
    """Whether it is known to be what its digest says."""
    age: float = 0
    """Seconds since that was checked."""

    def __post_init__(self) -> None:
        """Close the file with the last who has it."""
        weakref.finalize(self, os.close, self.fd)

    def wait(self, _position: int) -> int:
        """Return how many bytes there are."""
        return self.size

    def leave(self) -> None:
        """Take no note that it is read no longer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A blob in the folder."""

    digest: Digest
    size: int
    """Bytes."""
    used: float
    """When it was used last, in seconds since the epoch."""
    path: Path = field(repr=False)
    file: _File = field(repr=False)


class Folder:
    """The folder. Every method blocks; for many threads."""

    def __init__(
        self,
        path: Path,
        size_max: int,
        *,
        clock: Callable[[], float] = time.time,
        is_ready: bool = False,
    ) -> None:
        """Make the folder what it should be, and remove what a crash left.

        Args:
            path: of the folder, which is made if it is not there.
            size_max: bytes of all blobs together, partial ones included.
            clock: seconds since the epoch.
            is_ready: whether it is to be taken as it is, by who only looks after it.

        Raises:
            OSError: it cannot be written.

        """
        self.path = path
        self.kept = Kept(size_max=size_max)
        self._clock = clock
        self._lock = Lock()
        self._room = RLock()
        self._scanned = float("-inf")
        self._scan_seconds = 0.0
        self._held: WeakSet[Blob] = WeakSet()
        self._checked: LRUCache[Digest, tuple[_Identity, float]] = LRUCache(CHECKED_MAX)
        if is_ready:
            return
        self._make()
        self.remove_partial()

    def open(self, digest: Digest, *, is_use: bool = True) -> Blob | None:
        """Return a blob that is there, and take note that it is used, if it is."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self._place(digest), flags)
        except OSError:
            return None
        status = os.fstat(fd)
        blob = Blob(fd, status.st_size, is_checked=False)
        if not stat.S_ISREG(status.st_mode):
            return None
        now = self._clock()
        if is_use:
            with suppress(OSError):  # A folder that is only read still serves.
                os.utime(fd, ns=(int(now * 1e9), status.st_mtime_ns))
        self.hold(blob)
        with self._lock:
            identity, end = self._checked.get(digest, (None, 0.0))
        blob.is_checked = identity == _identity(status) and now < end
        blob.age = now - (end - CHECKED_SECONDS)
        return blob

    def check(self, digest: Digest, blob: Blob) -> bool:
        """Return whether a blob is what its digest says; one that is not is removed."""
        if self.is_right(digest, blob):
            return True
        self.count_damaged()
        logger.error(
            "the blob %s in the cache was damaged: it is removed, and fetched anew",
            digest,
        )
        self.remove(digest)
        return False

    def is_right(
        self,
        digest: Digest,
        blob: Blob,
        reach: Callable[[int], object] = lambda _: None,
    ) -> bool:
        """Return whether a blob is what its digest says; to read it is no use of it.

        Args:
            digest: of the blob.
            blob: as it was opened.
            reach: is told how many bytes were read so far.

        """
        state, position = hashlib.new(_algorithm(digest)), 0
        status = os.fstat(blob.fd)
        try:
            while piece := os.pread(blob.fd, PIECE_LENGTH, position):
                state.update(piece)
                position += len(piece)
                reach(position)
        except OSError:  # A bad sector, which is as good as a flipped bit.
            return False
        if _identity(os.fstat(blob.fd)) != _identity(status):
            return False  # Somebody wrote to it meanwhile.
        with suppress(OSError):
            os.utime(blob.fd, ns=(status.st_atime_ns, status.st_mtime_ns))
        blob.is_checked = state.hexdigest() == digest.partition(":")[2]
        if blob.is_checked:
            self._remember(digest, _identity(status))
        return blob.is_checked

    def begin(self, digest: Digest, size: int) -> "Partial":
        """Return a file of this size that a blob is written to.

        Raises:
            OSError: there is no room for it, or it cannot be written.

        """
        name = f"{digest.partition(':')[2][:64]}-{secrets.token_hex(8)}"
        if not (self.path / "partial").is_dir():
            logger.warning("the cache in %s was emptied, and is made anew", self.path)
            self._make()
        with self._room:
            self._make_room(size)
            partial = Partial(self, digest, size, self.path / "partial" / name)
            with self._lock:
                self.kept.size += size
        try:
            self._reserve(partial)
        except BaseException:  # Also where somebody interrupts it.
            partial.end()
            raise
        return partial

    def accept(self, partial: "Partial") -> None:
        """Move what was written to its place.

        Raises:
            OSError: that is not possible.

        """
        partial.path.replace(self._place(partial.digest))
        with self._lock:
            self.kept.counts.fetched += partial.size
        self._remember(partial.digest, _identity(os.fstat(partial.fd)))

    def hold(self, blob: Blob) -> None:
        """Take note that a blob has its bytes as long as it is open."""
        with self._lock:
            self._held.add(blob)

    def drop(self, size: int) -> None:
        """Take note that bytes are gone."""
        with self._lock:
            self.kept.size = max(0, self.kept.size - size)

    def count_damaged(self) -> None:
        """Take note of a blob that is not what its digest says."""
        with self._lock:
            self.kept.counts.damaged += 1

    def remove(self, digest: Digest) -> None:
        """Remove a blob; whoever reads it reads on."""
        with suppress(OSError):
            self._place(digest).unlink()
        self._scanned = float("-inf")

    def entries(self) -> Iterator[Entry]:
        """Yield the blobs, in no order."""
        for algorithm in ALGORITHMS:
            for entry in _scan(self.path / "blobs" / algorithm):
                digest = parse_digest(f"{algorithm}:{entry.name}")
                if digest is None:
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    size, used = status.st_size, max(status.st_atime, status.st_mtime)
                    path, file = Path(entry.path), (status.st_dev, status.st_ino)
                    yield Entry(digest, size, used, path, file)

    def prune(self, size_max: int) -> list[Entry]:
        """Remove the blobs that were used least recently, until the others fit.

        One that is open here stays: it has its bytes until its last reader ends, as
        others have that were removed under their readers.
        """
        # Nothing new is begun between what is counted and what is noted of it.
        with self._room, _locked(self.path):
            begin, held = self._clock(), self._held_files()
            entries = sorted(self.entries(), key=lambda entry: entry.used)
            sizes = held | {entry.file: entry.size for entry in entries}
            size = sum(sizes.values()) + self._partial_size()
            removed = []
            for entry in entries:
                if size <= size_max:
                    break
                if entry.file in held:
                    continue
                with suppress(FileNotFoundError):
                    entry.path.unlink()
                size -= entry.size
                removed.append(entry)
            with self._lock:
                self.kept.size, self._scanned = size, self._clock()
                self._scan_seconds = SCAN_TIMES * (self._scanned - begin)
                self.kept.counts.evictions += len(removed)
                self.kept.counts.evicted_bytes += sum(entry.size for entry in removed)
        return removed

    def remove_partial(self) -> None:
        """Remove what nobody writes any more, for who does has it locked."""
        for entry in self._partial_files():
            with suppress(OSError):
                flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
                fd = os.open(entry.path, flags)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    Path(entry.path).unlink()
                finally:
                    os.close(fd)

    def _make(self) -> None:
        """Make what is not there of the folder."""
        # Whoever reads files there asks no registry: that is for others than its owner
        # only where the owner says so.
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for algorithm in ALGORITHMS:
            (self.path / "blobs" / algorithm).mkdir(parents=True, exist_ok=True)
        (self.path / "partial").mkdir(exist_ok=True)
        _write_once(self.path / "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _write_once(self.path / "index.json", {"schemaVersion": 2, "manifests": []})
        # Whoever prunes it, as root perhaps, finds it there, and locks nobody out.
        with suppress(FileExistsError):
            (self.path / "lock").touch(exist_ok=False)

    def _make_room(self, size: int) -> None:
        """Remove old blobs until another one fits.

        Raises:
            OSError: it never will, or not as long as others are being written.

        """
        size_max = self.kept.size_max
        if size > size_max:
            raise OSError(
                f"it has {size} bytes, and the whole cache may have {size_max}"
            )
        seconds = min(SCAN_SECONDS, self._scan_seconds)
        is_old = self._clock() - self._scanned >= seconds
        if not is_old and self.kept.size + size <= size_max:
            return
        held = sum(self._held_files().values())
        if self._partial_size() + held + size > size_max:
            # To evict others would be in vain.
            raise OSError(
                f"it has {size} bytes, for which others that are being fetched or read"
                " leave no room in the cache"
            )
        self.prune(size_max - size)

    def _reserve(self, partial: "Partial") -> None:
        """Take the room for a blob, if need be of those that were used least recently.

        Raises:
            OSError: there is not so much.

        """
        try:
            partial.reserve()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            disk = os.statvfs(self.path)
            missing = partial.size - disk.f_bavail * disk.f_frsize
            held = self._held_files()
            free = sum(each.size for each in self.entries() if each.file not in held)
            if missing > free:
                raise
            logger.warning("the disk is full, so blobs of the cache make room")
            others = sum(held.values()) + self._partial_size()
            self.prune(free + others - missing)
            partial.reserve()

    def _held_files(self) -> dict[_File, int]:
        """Return the files that are open here, and how many bytes each has."""
        with self._lock:
            blobs = list(self._held)
        statuses = [os.fstat(blob.fd) for blob in blobs]
        return {(each.st_dev, each.st_ino): each.st_size for each in statuses}

    def _partial_files(self) -> Iterator["os.DirEntry[str]"]:
        """Yield what is being written, or was, by a process of this program."""
        entries = _scan(self.path / "partial")
        return (entry for entry in entries if _PARTIAL.fullmatch(entry.name))

    def _partial_size(self) -> int:
        """Return how many bytes are being written, by all processes."""
        total = 0
        for entry in self._partial_files():
            with suppress(FileNotFoundError):
                total += entry.stat(follow_symlinks=False).st_size
        return total

    def _remember(self, digest: Digest, identity: _Identity) -> None:
        with self._lock:
            self._checked[digest] = identity, self._clock() + CHECKED_SECONDS

    def _place(self, digest: Digest) -> Path:
        algorithm, _, text = digest.partition(":")
        return self.path / "blobs" / algorithm / text


class Partial:
    """A blob that is being written, by one thread."""

    def __init__(self, folder: Folder, digest: Digest, size: int, path: Path) -> None:
        self.digest = digest
        self.size = size
        self.path = path
        self._folder = folder
        self._state = hashlib.new(_algorithm(digest))
        self._position = 0
        self._is_accepted = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self.blob = Blob(os.open(path, flags, 0o644), size)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            # Whoever adds the files up counts it with its full size from now on.
            os.ftruncate(self.fd, size)
        except OSError:
            path.unlink()
            raise

    @property
    def fd(self) -> int:
        """Where the bytes are."""
        return self.blob.fd

    def reserve(self) -> None:
        """Take the room that the blob needs, so that none is missing later.

        Raises:
            OSError: there is not so much.

        """
        if not self.size or not hasattr(os, "posix_fallocate"):
            return
        try:
            os.posix_fallocate(self.fd, 0, self.size)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise

    def write(self, piece: bytes) -> None:
        """Write the next bytes.

        Raises:
            OSError: they cannot be written.

        """
        self._state.update(piece)
        rest = memoryview(piece)
        while rest:
            count = os.pwrite(self.fd, rest, self._position)
            self._position += count
            rest = rest[count:]

    def accept(self) -> None:
        """Let the blob be served, if it is what its digest says.

        Raises:
            Damaged: it is not.
            OSError: it cannot be kept.

        """
        is_whole = self._position == self.size
        if not is_whole or self._state.hexdigest() != self.digest.partition(":")[2]:
            self._folder.count_damaged()
            raise Damaged
        self._folder.accept(self)
        self._is_accepted = True

    def end(self) -> None:
        """Leave nothing behind of what was not accepted."""
        self._folder.hold(self.blob)
        if not self._is_accepted:
            with suppress(OSError):
                self.path.unlink()
            self._folder.drop(self.size)


def is_known(digest: Digest) -> bool:
    """Return whether a cache can have blobs of such a digest."""
    return _algorithm(digest) in ALGORITHMS


def _algorithm(digest: Digest) -> str:
    return digest.partition(":")[0]


def _identity(status: os.stat_result) -> _Identity:
    """Return what changes with a file's content, as far as the system can tell.

    That it was used is no change.
    """
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield the files of a folder, none of one that is gone."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))


def _write_once(path: Path, content: object) -> None:
    """Write a small file, if it is not there."""
    with suppress(FileExistsError), path.open("x") as file:
        json.dump(content, file)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time, and one of its threads, decide what to remove."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
