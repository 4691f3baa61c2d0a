"""What stands for a token in records: the same for the same token, and nothing else.

Who sends a token that was issued before is the client that asked for it. To see that,
nobody needs the token: its hash does, with a key that lives as long as this process.
Passwords and keys have none, because they are the same for years and for many clients.
"""

import secrets
from hashlib import blake2b

_KEY = secrets.token_bytes(blake2b.MAX_KEY_SIZE)
_LENGTH = 8
"""Bytes; enough to tell a process's tokens apart."""


def session_of(token: str | None) -> str | None:
    """Return what stands for a token, or None for none."""
    if not token:
        return None
    sent = token.encode("utf-8", "surrogateescape")
    return blake2b(sent, key=_KEY, digest_size=_LENGTH).hexdigest()
