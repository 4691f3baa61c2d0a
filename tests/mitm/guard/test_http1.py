"""What mitmproxy is given of a body in chunks."""

import h11
import pytest
from h11._receivebuffer import ReceiveBuffer

from mitm.guard.http1 import LINE_LENGTH_MAX, TrailerlessReader

TINY = b"1\r\nx\r\n" * 10_000


def read(*pieces: bytes) -> list[object]:
    """Return what is read of a body that comes in these pieces."""
    reader, buffer = TrailerlessReader(), ReceiveBuffer()
    found: list[object] = []
    for piece in pieces:
        buffer += piece
        while (event := reader(buffer)) is not None:
            found.append(event)
            if isinstance(event, h11.EndOfMessage):
                return found
    return found


def test_tiny_chunks_come_as_one_piece() -> None:
    """Ten thousand of them cost what their bytes do, and the end is an end."""
    data, end = read(TINY + b"0\r\nTrailer: x\r\n\r\n")
    assert isinstance(data, h11.Data)
    assert data.data == b"x" * 10_000
    assert end == h11.EndOfMessage()


def test_end_that_comes_later() -> None:
    """What is there is passed on at once, and the end not before it is whole."""
    assert len(read(TINY)) == 1
    assert len(read(TINY, b"0\r\n")) == 1
    assert len(read(TINY, b"0\r\n", b"\r\n")) == 2


@pytest.mark.parametrize("rest", [b"no length\r\n", b"1" + b";x" * LINE_LENGTH_MAX])
def test_body_that_breaks_off_has_no_end(rest: bytes) -> None:
    """What comes in the place of a chunk makes of the whole an error."""
    with pytest.raises(h11.ProtocolError):
        read(TINY + rest)
