"""Which access a requested scope gets.

```
scope   = "repository:" name [ ":" tag | "@sha256:" hex ] ":" action *( "," action )
name    = location | alias | "resin/resinos" | "resin/" arch "-supervisor"
        | app "/" commit                     ; before there were locations
alias   = org "/" app [ "/" version [ "/" service ] ]
```

A scope that does not follow this is dropped in silence.
"""

import re
from dataclasses import dataclass

from localcloud.account import Account
from localcloud.database import Database
from localcloud.issuer import Access

_SCOPE = re.compile(
    r"""
    repository:
    (?P<name>[a-z0-9_-]+/[a-z0-9_-]+(?:/[a-z0-9_.-]+)?(?:/[a-z0-9_-]+)?)
    (?: :[a-z0-9]+ | @sha256:[a-f0-9]+ )?
    :(?P<actions>(?:push|pull|,)+)
    """,
    re.VERBOSE | re.ASCII,
)
_HOST_OS = re.compile(r"resin/(?:resinos|(?:[a-zA-Z0-9]+-)+supervisor)")
# Later stages of a build are stored beside their image, with a number behind.
_LOCATION = re.compile(r"(?P<image>v2/[a-z0-9]+)(?P<stage>-[0-9]+)?")
_BUILD = re.compile(r"\d+/[\d-]+", re.ASCII)
_ALIAS = re.compile(
    r"""
    (?P<slug>[a-z0-9_-]+/[a-z0-9_-]+)
    (?:/(?P<version>[a-z0-9_.-]+))?
    (?:/(?P<service>[a-z0-9_-]+))?
    """,
    re.VERBOSE,
)
_TARGET_RELEASE = {"latest", "current", "default", "pinned"}


@dataclass(frozen=True, slots=True)
class Scope:
    """A repository and what is to be done there."""

    name: str
    actions: tuple[str, ...]

    def among(self, allowed: set[str]) -> tuple[str, ...]:
        """Return the actions that are allowed, in the order asked for."""
        return tuple(action for action in self.actions if action in allowed)


def parse_scope(text: str) -> Scope | None:
    """Read a scope, or say None to one that the API would drop."""
    match = _SCOPE.fullmatch(text)
    if match is None:
        return None
    return Scope(match["name"], tuple(dict.fromkeys(match["actions"].split(","))))


def grant_to_builder(scope: Scope) -> Access:
    """Grant all that is asked for, except pushing the host OS."""
    allowed = {"pull"} if _HOST_OS.fullmatch(scope.name) else {"pull", "push"}
    return Access(scope.name, scope.among(allowed))


def grant(database: Database, account: Account, scope: Scope) -> Access:
    """Grant what the account may do, aliases resolved as the API does it."""
    if _HOST_OS.fullmatch(scope.name):
        return Access(scope.name, scope.among({"pull"}))
    location = _LOCATION.match(scope.name)
    if location is not None or _BUILD.fullmatch(scope.name):
        name = location["image"] if location and location["stage"] else scope.name
        return Access(scope.name, scope.among(_allowed(database, account, name)))
    alias = _ALIAS.fullmatch(scope.name)
    if alias is not None and alias["service"] is not None:
        # The API reads a fourth component and never resolves it.
        return Access(scope.name, ())
    if alias is not None:
        version = None if alias["version"] in _TARGET_RELEASE else alias["version"]
        found = database.location_of(account, alias["slug"], version)
        if found:
            name = found.partition("/")[2]
            return Access(name, scope.among({"pull"}), alias=scope.name)
        if version is not None:
            return Access(scope.name, ())
    # Images were once called app/commit, and everybody may still pull those; an
    # org/app that was not found looks the same.
    return Access(scope.name, scope.among({"pull"}))


def _allowed(database: Database, account: Account, name: str) -> set[str]:
    owners = database.owners_of(name)
    allowed = set()
    if any(account.may_read(o.slug, is_public=o.is_public) for o in owners):
        allowed.add("pull")
    # The real API asks for a permission on the image; see Account.
    if any(account.may_write(o.slug) for o in owners):
        allowed.add("push")
    return allowed
