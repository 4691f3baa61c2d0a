"""Where a ClientHello ends, and what will never be one (T8)."""

import pytest

from mitm.guard.hello import LENGTH_MAX, RECORDS_MAX, is_whole


def message(length: int, kind: int = 1) -> bytes:
    """Return a message of a handshake."""
    return bytes([kind]) + length.to_bytes(3) + b"x" * length


def record(content: bytes) -> bytes:
    """Return a TLS record."""
    return b"\x16\3\1" + len(content).to_bytes(2) + content


@pytest.mark.parametrize("cut", [1000, 300, 3])
def test_whole(cut: int) -> None:
    """It may stand in one record or in a few, and something may come behind it."""
    sent = message(500) if cut > 3 else message(20)
    hello = b"".join(record(sent[at : at + cut]) for at in range(0, len(sent), cut))
    assert is_whole(hello)
    assert is_whole(hello + b"\x17")
    for length in range(len(hello)):
        assert not is_whole(hello[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (record(b"\1\xff\xff\xff"), "more than"),
        (record(b"\1")[:-1] + b"\2", "no ClientHello"),
        (record(message(9, kind=2))[:6], "no ClientHello"),
        (record(message(LENGTH_MAX)[:100]), "more than"),
        (record(b""), "small pieces"),
        (record(b"\1\0\1") + record(b"\1") * RECORDS_MAX, "small pieces"),
        (record(b"\1") + b"\x15\3\1\0\1", "cannot be read"),
        (b"\x16GET / HTTP/1.1", "cannot be read"),
        (b"\x16\3\1\xff\xff\1\0\1\0" + bytes(LENGTH_MAX), "more than"),
    ],
)
def test_never_whole(data: bytes, said: str) -> None:
    """It is known as soon as it can be, and nothing long is waited for."""
    with pytest.raises(ValueError, match=said):
        is_whole(data)
