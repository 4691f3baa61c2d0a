"""A body is unpacked up to what may be held, or not at all."""

import gzip
import tracemalloc
import zlib

import pytest

from resolver.content.answer import BUFFER_LENGTH_MAX
from resolver.content.encoding import CodingError, decode

CONTENT = b'{"errors":[]}'
PACKED = gzip.compress(CONTENT, mtime=0)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (CONTENT, ""),
        (CONTENT, "identity"),
        (PACKED, "gzip"),
        (PACKED, " X-GZIP"),
        (zlib.compress(CONTENT), "deflate"),
    ],
    ids=["none", "identity", "gzip", "x-gzip", "deflate"],
)
def test_body_is_unpacked(body: bytes, coding: str) -> None:
    """What the coding says is undone, however that is written."""
    assert decode(body, coding) == CONTENT


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (CONTENT, "gzip"),
        (PACKED[:-1], "gzip"),
        (PACKED + b"x", "gzip"),
        (PACKED + PACKED, "gzip"),
        (gzip.compress(PACKED), "gzip, gzip"),
        (CONTENT, "br"),
        (CONTENT, "zstd"),
        (CONTENT, "punycode"),
    ],
    ids=["plain", "cut", "more", "twice", "layers", "br", "zstd", "punycode"],
)
def test_body_that_cannot_be_unpacked(body: bytes, coding: str) -> None:
    """What is cut, has more behind it, or is packed otherwise is no content."""
    with pytest.raises(CodingError):
        decode(body, coding)


def test_length_is_limited() -> None:
    """As much as may be held is unpacked; a byte more is not, nor all that follows."""
    longest = bytes(BUFFER_LENGTH_MAX)
    assert decode(gzip.compress(longest), "gzip") == longest
    for length in (BUFFER_LENGTH_MAX + 1, BUFFER_LENGTH_MAX * 50):
        bomb = gzip.compress(bytes(length))
        tracemalloc.start()
        with pytest.raises(CodingError):
            decode(bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * BUFFER_LENGTH_MAX
