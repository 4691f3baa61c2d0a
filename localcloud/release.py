"""New releases, with the rows that the API's builder would make for them.

The version follows the API's rules: a final release gets the next revision of its
version, a draft its creation time instead.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localcloud.catalog import Row
from localcloud.database import Database

_SEMVER = re.compile(
    r"""
    (?P<core>(?P<major>\d+)\.(?P<minor>\d+)\.(?P<patch>\d+))
    (?:-(?P<prerelease>[0-9A-Za-z.-]+))?
    (?:\+(?P<build>[0-9A-Za-z.-]+))?
    """,
    re.VERBOSE | re.ASCII,
)
# Releases that are alike in these are revisions of one version.
_REVISED = (
    *("semver_major", "semver_minor", "semver_patch", "semver_prerelease"),
    *("variant", "belongs_to__application"),
)


@dataclass(frozen=True, slots=True)
class AddedImage:
    """One image of a new release."""

    service: str
    location: str

    @property
    def repository(self) -> str:
        """The location without the registry."""
        return self.location.partition("/")[2]


@dataclass(frozen=True, slots=True)
class AddedRelease:
    """A new release, as the API would show it."""

    id: int
    commit: str
    raw_version: str
    images: tuple[AddedImage, ...]


def add_release(
    database: Database,
    registry_host: str,
    now: float,
    application: Row,
    version: str,
    *,
    services: Sequence[str],
    is_draft: bool,
    image_status: str,
    fields: Row,
) -> AddedRelease:
    """Add a release with one image for each service.

    ``fields`` overwrite what would be stored of the release itself.
    """
    match = _SEMVER.fullmatch(version)
    if match is None:
        raise ValueError(f"not a semver: {version!r}")
    row: Row = {
        "status": "success",
        "semver": version,
        "semver_major": int(match["major"]),
        "semver_minor": int(match["minor"]),
        "semver_patch": int(match["patch"]),
        "semver_prerelease": match["prerelease"] or "",
        "variant": "",
        "revision": None,
        "is_final": not is_draft,
        "is_invalidated": False,
        "is_passing_tests": True,
        "start_timestamp": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.000}Z",
        "belongs_to__application": application["id"],
    } | fields
    if not is_draft:
        same = database.find("release", **{name: row[name] for name in _REVISED})
        revisions = (-1 if r["revision"] is None else r["revision"] for r in same)
        row["revision"] = max(revisions, default=-1) + 1
    row.setdefault("raw_version", _raw_version(match, row, now))
    row.setdefault("commit", _made_up_hash(application["id"], row["raw_version"]))
    number = database.insert("release", row)
    images = []
    for service in services:
        repository = f"v2/{_made_up_hash(application['slug'], number, service)}"
        location = f"{registry_host}/{repository}"
        image = {
            "status": image_status,
            "is_stored_at__image_location": location,
            "content_hash": None,
            "is_a_build_of__service": _service(database, application, service),
        }
        link = {"image": database.insert("image", image), "is_part_of__release": number}
        database.insert("release_image", link)
        images.append(AddedImage(service, location))
    return AddedRelease(number, row["commit"], row["raw_version"], tuple(images))


def _raw_version(match: re.Match[str], row: Row, now: float) -> str:
    base, _, build = match[0].partition("+")
    revision = row["revision"]
    if revision is None:
        # Drafts carry their creation time in milliseconds.
        return f"{base}{'.' if match['prerelease'] else '-'}{int(now * 1000)}"
    parts = (build, f"rev{revision}" if revision else "", row["variant"])
    suffix = ".".join(part for part in parts if part)
    return f"{base}+{suffix}" if suffix else base


def _service(database: Database, application: Row, name: str) -> int:
    """Return the number of the image service, which is added if it is new."""
    fields: dict[str, Any] = {"service_name": name, "application": application["id"]}
    for service in database.find("service", **fields):
        number: int = service["id"]
        return number
    return database.insert("service", fields)


def _made_up_hash(*parts: object) -> str:
    text = "\n".join(map(str, parts))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
