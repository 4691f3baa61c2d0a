"""The accounts, their keys, and the applications that they may see.

An account sees public applications, those of its organizations, and, when it is a
device, its own fleet. The real API knows roles and collaborators besides.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, replace

from localcloud.catalog import Row

DEVICE_UUID = "7c1f0f6bb5c24a9a8f4b1d2f7d8a9b3e"
OTHER_DEVICE_UUID = "1f0c8a51c7d94e3db25ab4d5d9c1e6f7"


@dataclass(frozen=True, slots=True)
class Account:
    """A user, a device, the image builder or, without any of these, anonymous."""

    subject: str = ""
    """The name in a token."""
    organizations: frozenset[str] = frozenset()
    device: str = ""
    fleet: str = ""
    is_builder: bool = False

    def may_read(self, application: Row) -> bool:
        """Whether the application exists for this account."""
        return (
            application["is_public"]
            or application["slug"] == self.fleet
            or self.may_write(application)
        )

    def may_write(self, application: Row) -> bool:
        """Whether the account may push images of the application."""
        return application["slug"].partition("/")[0] in self.organizations


ANONYMOUS = Account()

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
BUILDER_TOKEN = "builder-token"  # noqa: S105 - see KEYS

_BY_KEY: Mapping[str, Account] = {
    KEYS["admin"]: Account("admin", frozenset({"balenablocks", "otherorg"})),
    KEYS["carol"]: Account("carol", frozenset({"balenablocks"})),
    KEYS["bob"]: Account("bob", frozenset({"otherorg"})),
    KEYS["device"]: Account(device=DEVICE_UUID, fleet="balenablocks/private-block"),
    KEYS["other_device"]: Account(device=OTHER_DEVICE_UUID, fleet="otherorg/tracker"),
}
_BY_BEARER = {**_BY_KEY, SESSION: _BY_KEY[KEYS["admin"]]}
_BY_PASSWORD = {**_BY_KEY, BUILDER_TOKEN: Account(is_builder=True)}


def find_account(authorization: str | None, api_key: str | None) -> Account | None:
    """Return whose credentials these are, if anybody's: the header's come first."""
    if authorization is None:
        return ANONYMOUS if api_key is None else _BY_KEY.get(api_key)
    scheme, _, value = authorization.partition(" ")
    return (
        _by_password(value) if scheme.lower() == "basic" else find_bearer(authorization)
    )


def find_bearer(authorization: str | None) -> Account | None:
    """Return whose key or session token a Bearer header has."""
    scheme, _, value = (authorization or "").partition(" ")
    return _BY_BEARER.get(value) if scheme.lower() == "bearer" else None


def _by_password(value: str) -> Account | None:
    try:
        text = base64.b64decode(value).decode()
    except ValueError:
        return None
    username, _, password = text.partition(":")
    account = _BY_PASSWORD.get(password)
    if account and account.device and account.device == username.removeprefix("d_"):
        # A device is named only where it says its own name.
        return replace(account, subject=username)
    return account
