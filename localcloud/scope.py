"""Scopes, and the access that they get.

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
from localcloud.catalog import Row
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
_LOCATION = re.compile(r"(?P<image>v2/[a-z0-9]+)(?:-[0-9]+)?")
_TARGET_RELEASE = {"latest", "current", "default", "pinned"}


@dataclass(frozen=True, slots=True)
class Scope:
    """A repository, and the actions that are asked for."""

    name: str
    actions: tuple[str, ...]

    def among(self, allowed: set[str]) -> tuple[str, ...]:
        """Return the actions that are allowed, in the order asked for."""
        return tuple(action for action in self.actions if action in allowed)


def parse_scope(text: str) -> Scope | None:
    """Read a scope, or return None for one that the API would drop."""
    match = _SCOPE.fullmatch(text)
    if match is None:
        return None
    return Scope(match["name"], tuple(match["actions"].split(",")))


def grant(database: Database, account: Account, scope: Scope) -> Access:
    """Return what the account may do, aliases resolved as the API does it."""
    if _HOST_OS.fullmatch(scope.name):
        return Access(scope.name, scope.among({"pull"}))
    if account.is_builder:
        return Access(scope.name, scope.actions)
    if location := _LOCATION.fullmatch(scope.name):
        allowed = _allowed(database, account, location["image"])
        return Access(scope.name, scope.among(allowed))
    organization, application, *rest = scope.name.split("/")
    version = rest[0] if rest else "latest"
    # The API reads a fourth component and never resolves it.
    if len(rest) < 2:  # noqa: PLR2004
        slug = f"{organization}/{application}"
        repository = _find_repository(database, account, slug, version)
        if repository:
            return Access(repository, scope.among({"pull"}), alias=scope.name)
    # Images were once called app/commit, and everybody may still pull those; an
    # org/app that was not found looks the same.
    is_old = not rest or version in _TARGET_RELEASE
    return Access(scope.name, scope.among({"pull"}) if is_old else ())


def _allowed(database: Database, account: Account, repository: str) -> set[str]:
    """Return the actions on a repository."""
    allowed = set()
    for application in _find_owners(database, repository):
        if account.may_read(application):
            allowed.add("pull")
        # The real API asks for a permission on the image; see Account.
        if account.may_write(application):
            allowed.add("push")
    return allowed


def _find_owners(database: Database, repository: str) -> list[Row]:
    """Return the applications that have the image in a release."""
    return [
        application
        for image in database.rows("image")
        if image["is_stored_at__image_location"].endswith(repository)
        for link in database.find("release_image", image=image["id"])
        for release in database.linked("release", link["is_part_of__release"])
        for application in database.linked(
            "application", release["belongs_to__application"]
        )
    ]


def _find_repository(
    database: Database, account: Account, slug: str, version: str
) -> str | None:
    """Return where a release's image is stored, if it has one image only.

    The real API caches the answer, also the empty one, for five minutes.
    """
    for application in database.find("application", slug=slug):
        if not account.may_read(application):
            return None
        releases = [
            release
            for release in database.find(
                "release", belongs_to__application=application["id"], status="success"
            )
            if _is_meant(version, release, application)
        ]
        # The highest revision; of drafts, which have none, the first.
        releases.sort(key=lambda release: -(release["revision"] or 0))
        for release in releases:
            images = database.images(release)
            if [image["status"] for image in images] == ["success"]:
                location: str = images[0]["is_stored_at__image_location"]
                return location.partition("/")[2]
    return None


def _is_meant(version: str, release: Row, application: Row) -> bool:
    if version in _TARGET_RELEASE:
        return bool(release["id"] == application["should_be_running__release"])
    field = "semver" if release["is_final"] else "raw_version"
    return version in {release["commit"], release[field]}
