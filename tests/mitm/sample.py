"""Logins and tokens for tests of what is shown of them; they open nothing."""

import base64
import json

from resolver.token.claims import append_aliases
from resolver.token.suffix import Aliases
from tests.resolver.fake import fixed

KEY = "secretkey0123456789"
LOGIN = base64.b64encode(f"user:{KEY}".encode()).decode()
SIGNATURE = "signature-0123456789"
ALIASES = Aliases({"org/app/2.3": fixed(f"v2/{'ab' * 16}")})


def jwt(payload: object) -> str:
    """Return a signed JWT with the payload."""
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "ES256"}, payload)
    ]
    return ".".join([*encoded, SIGNATURE])


REGISTRY = jwt({"sub": "carol", "access": []})
CLAIMS = REGISTRY.rpartition(".")[0]
SESSION = jwt({"username": "carol", "jwt_secret": KEY})
SUFFIX = append_aliases("", ALIASES)
