"""Who a caller is and which applications it may see.

A caller sees public applications, those of its organizations, and, when it is a
device, its own fleet. The real API knows roles and collaborators besides.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

DEVICE_UUID = "7c1f0f6bb5c24a9a8f4b1d2f7d8a9b3e"
OTHER_DEVICE_UUID = "1f0c8a51c7d94e3db25ab4d5d9c1e6f7"


@dataclass(frozen=True, slots=True)
class Account:
    """A user, a device or, without a name and rights, the anonymous caller."""

    user: str = ""
    organizations: frozenset[str] = frozenset()
    device: str = ""
    fleet: str = ""

    def may_read(self, slug: str, *, is_public: bool) -> bool:
        """Whether the application exists for this caller."""
        return is_public or slug == self.fleet or self.may_write(slug)

    def may_write(self, slug: str) -> bool:
        """Whether the caller may push images of the application."""
        return slug.partition("/")[0] in self.organizations

    def subject(self, username: str) -> str:
        """Return what a token names as its subject.

        A device is named only when the user of the Basic credentials is its own.
        """
        if self.device and username.removeprefix("d_") == self.device:
            return username
        return self.user


ANONYMOUS = Account()

_ADMIN = Account("admin", frozenset({"balenablocks", "otherorg"}))
_CAROL = Account("carol", frozenset({"balenablocks"}))
_BOB = Account("bob", frozenset({"otherorg"}))

# Made up, and worth nothing anywhere but here.
KEYS: Mapping[str, str] = {
    "admin": "adminkey".ljust(33, "0"),
    "carol": "carolkey".ljust(33, "0"),
    "bob": "bobkey".ljust(33, "0"),
    "device": "devicekey".ljust(33, "0"),
    "other_device": "otherdevicekey".ljust(33, "0"),
}
# Session tokens are looked up here, where the real API verifies a signed JWT.
SESSION = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VybmFtZSI6ImFkbWluIn0.c2Vzc2lvbg"
ACCOUNT_PASSWORD = "password-of-admin"  # noqa: S105 - see KEYS
BUILDER_TOKEN = "builder-token"  # noqa: S105 - see KEYS

_BY_KEY: Mapping[str, Account] = {
    KEYS["admin"]: _ADMIN,
    KEYS["carol"]: _CAROL,
    KEYS["bob"]: _BOB,
    KEYS["device"]: Account(device=DEVICE_UUID, fleet="balenablocks/private-block"),
    KEYS["other_device"]: Account(device=OTHER_DEVICE_UUID, fleet="otherorg/tracker"),
}
_BY_SESSION: Mapping[str, Account] = {SESSION: _ADMIN}


class Scheme(StrEnum):
    """How a credential came."""

    NONE = "none"
    BASIC = "basic"
    BEARER = "bearer"
    QUERY = "query"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request carried to prove who it is from."""

    scheme: Scheme
    secret: str = ""
    username: str = ""

    def account(self) -> Account | None:
        """Return the account that the credential proves."""
        if self.scheme is Scheme.BEARER and self.secret in _BY_SESSION:
            return _BY_SESSION[self.secret]
        return _BY_KEY.get(self.secret)

    @property
    def is_builder(self) -> bool:
        """Whether this is the image builder, which counts as Basic password only."""
        return self.scheme is Scheme.BASIC and self.secret == BUILDER_TOKEN


def parse_credential(authorization: str | None, api_key: str | None) -> Credential:
    """Read the ``Authorization`` header, or else the ``apikey`` of the query."""
    if authorization is None:
        if api_key is None:
            return Credential(Scheme.NONE)
        return Credential(Scheme.QUERY, api_key)
    scheme, _, value = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return Credential(Scheme.BEARER, value.strip())
        case "basic":
            username, secret = _parse_basic(value.strip())
            return Credential(Scheme.BASIC, secret, username)
        case _:
            return Credential(Scheme.OTHER)


def _parse_basic(value: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    username, _, secret = text.partition(":")
    return username, secret
