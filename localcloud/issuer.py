"""The issuer of registry tokens, which signs and verifies them.

Tokens are JWTs with ES256, and their ``kid`` is the fingerprint that
docker-registry computes of the keys in its ``rootcertbundle``: base32 of the
first 30 bytes of SHA-256 over the DER public key, in groups of four.
https://distribution.github.io/distribution/spec/auth/jwt/
"""

import base64
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

LIFETIME_SECONDS = 14_400
# The API's clock and the registry's may differ a little.
NOT_BEFORE_SECONDS = 10
LEEWAY_SECONDS = 60


class InvalidTokenError(ValueError):
    """A token that the registry must not honour."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a token allows on one repository, as asked for by an alias or not."""

    name: str
    actions: tuple[str, ...]
    alias: str | None = None

    def claim(self) -> dict[str, object]:
        """Return the element of the token's ``access`` list."""
        claim: dict[str, object] = {
            "name": self.name,
            "type": "repository",
            "actions": list(self.actions),
        }
        return claim if self.alias is None else {**claim, "alias": self.alias}


class Issuer:
    """A signing key made at the start, the name it signs for, and the audience."""

    def __init__(self, name: str, audience: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.audience = audience
        self._clock = clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        der = self._key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        self.key_id = ":".join(text[i : i + 4] for i in range(0, len(text), 4))

    def certificate_bundle(self, path: Path) -> Path:
        """Write docker-registry's ``rootcertbundle`` to ``path`` and return it."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        now = datetime.fromtimestamp(self._clock(), UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .sign(self._key, hashes.SHA256())
        )
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        return path

    def issue(self, subject: str, access: Sequence[Access]) -> str:
        """Return a signed token."""
        now = int(self._clock())
        claims: dict[str, object] = {
            "jti": str(uuid.uuid4()),
            "nbf": now - NOT_BEFORE_SECONDS,
            "access": [item.claim() for item in access],
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "aud": self.audience,
            "iss": self.name,
            "sub": subject,
        }
        return jwt.encode(
            claims, self._key, algorithm="ES256", headers={"kid": self.key_id}
        )

    def verify(self, token: str) -> list[Access]:
        """Return what a token allows, at this moment and to this audience."""
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=["ES256"],
                audience=self.audience,
                issuer=self.name,
                # The times are read by the injected clock, below.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            not_before, expiry = float(claims["nbf"]), float(claims["exp"])
            access = [
                Access(str(item["name"]), tuple(map(str, item["actions"])))
                for item in claims.get("access") or []
                if item["type"] == "repository"
            ]
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError) as error:
            raise InvalidTokenError("not a token of this issuer") from error
        now = self._clock()
        if now > expiry + LEEWAY_SECONDS or now < not_before - LEEWAY_SECONDS:
            raise InvalidTokenError("not a token of this moment")
        return access
