"""What the tests of the cache share: blobs, and where they come from."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from resolver.errors import ServiceUnavailable
from resolver.grammar.reference import Digest


def digest_of(content: bytes) -> Digest:
    """Return the digest of a blob."""
    return Digest(f"sha256:{hashlib.sha256(content).hexdigest()}")


class Answer:
    """An answer whose body comes in pieces; an error among them is raised."""

    def __init__(
        self,
        pieces: Iterable[bytes | Exception],
        status: int = 200,
        **headers: str,
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        self._pieces = iter(pieces)

    def read(self) -> bytes:
        """Return the next piece; nothing at the end."""
        piece = next(self._pieces, b"")
        if isinstance(piece, Exception):
            raise piece
        return piece


def whole(content: bytes, length: int = 1000) -> Answer:
    """Return an answer that sends a blob, piece by piece."""
    pieces = [content[i : i + length] for i in range(0, len(content), length)]
    return Answer(pieces, Content_Length=str(len(content)))


def rest(content: bytes, begin: int, size: int | None = None) -> Answer:
    """Return an answer that sends the rest of a blob."""
    size = size or len(content)
    content_range = f"bytes {begin}-{size - 1}/{size}"
    return Answer([content[begin:]], 206, Content_Range=content_range)


def cut(content: bytes, length: int) -> Answer:
    """Return an answer that breaks off."""
    return Answer(
        [content[:length], ServiceUnavailable("it breaks off")],
        Content_Length=str(len(content)),
    )


class Upstream:
    """Gives one answer after the other, and knows from which byte on each was asked."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = iter(answers)
        self.begins: list[int] = []

    @contextmanager
    def __call__(self, begin: int) -> Iterator[Answer]:
        """Yield the next answer."""
        self.begins.append(begin)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        yield answer
