"""The ClientHello that begins a TLS handshake, and what is none.

mitmproxy holds one of any length, and looks at all of it each time that more comes. So
it gets one that is whole, or none.
"""

HANDSHAKE = b"\x16"
"""The first byte of a TLS record that begins a handshake; no HTTP method begins so."""
LENGTH_MAX = 16 << 10
"""Bytes before it is whole; those of today's clients have less than 4 kB."""
RECORDS_MAX = 16
"""Records that it may be cut into."""
_HEADER_LENGTH = 5
"""Type, version and length of a record."""
_PREFIX_LENGTH = 4
"""Type and length of a message of a handshake."""
_VERSIONS = tuple(HANDSHAKE + bytes([3, minor]) for minor in range(4))
_CLIENT_HELLO = 1


def is_whole(data: bytes | bytearray) -> bool:
    """Return whether a ClientHello is there to its end, and that of its record.

    Raises:
        ValueError: it will never be one, or it is too long.

    """
    message = bytearray()
    start = count = 0
    while len(data) >= start + _HEADER_LENGTH:
        if not data.startswith(_VERSIONS, start):
            raise ValueError("a TLS handshake that cannot be read")
        begin = start + _HEADER_LENGTH
        length = int.from_bytes(data[begin - 2 : begin])
        start = begin + length
        message += data[begin:start]
        count += 1
        if not length or count > RECORDS_MAX:
            raise ValueError("a TLS handshake in too small pieces")
        if message and message[0] != _CLIENT_HELLO:
            raise ValueError("a TLS handshake that begins with no ClientHello")
        if len(message) < _PREFIX_LENGTH:
            continue
        end = _PREFIX_LENGTH + int.from_bytes(message[1:_PREFIX_LENGTH])
        if end > LENGTH_MAX:
            break
        if len(message) >= end and len(data) >= start:
            return True
    else:
        if len(data) <= LENGTH_MAX:
            return False
    raise ValueError(f"a ClientHello of more than {LENGTH_MAX} bytes")
