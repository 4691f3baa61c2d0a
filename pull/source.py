"""An OCI image layout that somebody brought: nothing in it is believed.

The blobs that it has are those under `blobs/`, whether its index names them or not, so
the folder of another cache is one as well. No link is followed and no device or pipe is
read, wherever in it; its own path may be a link, which is the user's.
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import errno
import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from cause.finding import shown
from mitm.option import ValueRefused
from mitm.parser import parse_path
from pull.manifest import Descriptor
from resolver.blob.folder import ALGORITHMS, PIECE_LENGTH
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import parse_digest

PREFIX = "oci:"
OPTION = "--from"
NO_FILE = "it is a link or a special file"
_DOCUMENT_MAX = 4 << 20
_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = _FILE | os.O_DIRECTORY


class Unreadable(Exception):
    """A blob that cannot be read; the message says why."""


class Source:
    """The layout, which is only read."""

    def __init__(self, text: str) -> None:
        """Look whether there is one.

        Args:
            text: ``oci:`` and the path of the folder.

        Raises:
            ValueRefused: there is none.

        """
        path = text.removeprefix(PREFIX)
        if path == text or not path:
            raise ValueRefused(
                f"{OPTION}: {shown(text)!r} names no OCI image layout; write"
                f" {PREFIX}<folder>"
            )
        try:
            self.path = parse_path(path)
        except ValueError as error:
            raise ValueRefused(f"{OPTION}: {error}") from error
        try:
            self._root = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except FileNotFoundError as error:
            raise ValueRefused(
                f"{OPTION}: there is no folder {str(self.path)!r}; write"
                f" {PREFIX}<folder>, without a tag, for all that is in it is taken"
            ) from error
        except OSError as error:
            raise self._refused(_why(error)) from error
        weakref.finalize(self, os.close, self._root)
        self.refused: list[str] = []
        """What stands there under a digest and is no file."""
        self._check()

    def blobs(self) -> list[Descriptor]:
        """Return what the layout has under digests that a cache can have.

        Raises:
            ValueRefused: it cannot be read.

        """
        try:
            return [each for name in ALGORITHMS for each in self._listed(name)]
        except OSError as error:
            raise self._refused(f"blobs: {_why(error)}") from error

    @contextmanager
    def open(self, blob: Descriptor) -> Iterator[Iterator[bytes]]:
        """Yield the pieces of a blob, no more than it had when it was listed.

        Raises:
            Unreadable: it cannot be read.

        """
        algorithm, _, name = blob.digest.partition(":")
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(self._folder(algorithm))
                fd = stack.enter_context(_file(folder, name))
            except OSError as error:
                raise Unreadable(_why(error)) from error
            yield _pieces(fd, blob.size)

    def _check(self) -> None:
        """See that it has the marks of a layout."""
        for name, field in (("oci-layout", "imageLayoutVersion"), ("index.json", "")):
            try:
                with _file(self._root, name) as fd:
                    payload = parse_payload(b"".join(_pieces(fd, _DOCUMENT_MAX)))
            except (OSError, Unreadable) as error:
                raise self._refused(f"{name}: {_why(error)}") from error
            except ValueError as error:
                raise self._refused(f"{name} is no JSON") from error
            if not isinstance(payload, dict) or field not in {"", *payload}:
                raise self._refused(f"{name} has something else")

    def _listed(self, algorithm: str) -> Iterator[Descriptor]:
        try:
            with self._folder(algorithm) as folder, os.scandir(folder) as entries:
                for entry in entries:
                    digest = parse_digest(f"{algorithm}:{entry.name}")
                    if digest is None:
                        continue
                    if entry.is_file(follow_symlinks=False):
                        size = entry.stat(follow_symlinks=False).st_size
                        yield Descriptor("", digest, size)
                    else:
                        self.refused.append(digest)
        except FileNotFoundError:
            return

    @contextmanager
    def _folder(self, algorithm: str) -> Iterator[int]:
        with (
            _opened(self._root, "blobs", _FOLDER) as blobs,
            _opened(blobs, algorithm, _FOLDER) as folder,
        ):
            yield folder

    def _refused(self, why: str) -> ValueRefused:
        return ValueRefused(
            f"{OPTION}: {str(self.path)!r} is no OCI image layout that can be read:"
            f" {shown(why)}"
        )


@contextmanager
def _opened(folder: int, name: str, flags: int) -> Iterator[int]:
    fd = os.open(name, flags, dir_fd=folder)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _file(folder: int, name: str) -> Iterator[int]:
    """Yield a regular file, looked at before: to open a device can have effects.

    Raises:
        OSError: it is something else, or cannot be opened.

    """
    _check_regular(os.stat(name, dir_fd=folder, follow_symlinks=False))
    with _opened(folder, name, _FILE) as fd:
        _check_regular(os.fstat(fd))
        yield fd


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, NO_FILE)


def _pieces(fd: int, size: int) -> Iterator[bytes]:
    """Yield so many bytes of a file, or fewer if it has no more."""
    position = 0
    while position < size:
        try:
            piece = os.pread(fd, min(PIECE_LENGTH, size - position), position)
        except OSError as error:
            raise Unreadable(_why(error)) from error
        if not piece:
            return
        position += len(piece)
        yield piece


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
