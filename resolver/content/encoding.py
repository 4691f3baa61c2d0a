"""The content coding of a body that is held (RFC 9110, 8.4.1), undone within bounds.

The registry is asked for bodies as they are (`identity`). One that is packed all the
same may unpack to a thousand times its length, and is unpacked up to the length of what
may be held. What the standard library cannot stop there is not unpacked at all: more
than one coding, and others than gzip and deflate.
"""

import zlib

from resolver.content.answer import BUFFER_LENGTH_MAX

_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class CodingError(ValueError):
    """A body cannot be unpacked, or is too long then."""


def decode(body: bytes, coding: str) -> bytes:
    """Return the content of a body with such a ``Content-Encoding``.

    Raises:
        CodingError: there is none that can be had within bounds.

    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _PACKED:
        raise CodingError("the coding is none that can be undone")
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = unpacking.decompress(body, BUFFER_LENGTH_MAX + 1)
    except zlib.error as error:
        raise CodingError("it is not packed as it says") from error
    if len(content) > BUFFER_LENGTH_MAX:
        raise CodingError("it is too long to be held")
    if not unpacking.eof or unpacking.unused_data:
        raise CodingError("it does not end where its content does")
    return content
