"""What mitmproxy says is shown without the bytes that it quotes."""

import pytest

from mitm.redaction import without_bytes


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("server connect localhost:5000", "server connect localhost:5000"),
        ("Bad HTTP request line: b'GET secret'", "Bad HTTP request line: [redacted]"),
        ('unexpected: b"it\'s a secret"', "unexpected: [redacted]"),
        ("a b'secret', c b'secret'.", "a [redacted]."),
        ("DataReceived(client, b'secret...", "DataReceived(client, [redacted]"),
        ('DataReceived(client, b"secret...', "DataReceived(client, [redacted]"),
        ("two lines: b'secret\nsecret'", "two lines: [redacted]"),
        ("the client's job's done", "the client's job's done"),
    ],
)
def test_bytes_are_left_out(said: str, shown: str) -> None:
    """Bytes may be a login, also where they are cut off in the middle."""
    assert without_bytes(said) == shown
