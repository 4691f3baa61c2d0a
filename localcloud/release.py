"""What a new release brings into the database, as the API's builder would.

The release's version is worked out by the API's rules: a final one gets the next
revision of its version, a draft its creation time instead.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

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


@dataclass(frozen=True, slots=True)
class AddedImage:
    """One image of a new release."""

    id: int
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
    application: str
    commit: str
    raw_version: str
    images: tuple[AddedImage, ...]


def add_release(
    database: Database,
    registry_host: str,
    now: float,
    slug: str,
    version: str,
    *,
    services: Sequence[str] = ("main",),
    is_draft: bool = False,
    fields: Row | None = None,
    image_status: str = "success",
) -> AddedRelease:
    """Add a release with one image for each service.

    ``fields`` overwrite what would be stored of the release itself.
    """
    match = _SEMVER.fullmatch(version)
    if match is None:
        raise ValueError(f"not a semver: {version!r}")
    application = _find(database, "application", slug=slug)
    if application is None:
        raise ValueError(f"no application {slug!r}")
    given = fields or {}
    row = _release_row(database, match, application["id"], now, is_draft, given)
    number = database.insert("release", row)
    commit = str(row["commit"])
    images = []
    for service in services:
        location = f"{registry_host}/v2/{_made_up_hash(slug, number, service)}"
        image = database.insert(
            "image",
            {
                "status": image_status,
                "is_stored_at__image_location": location,
                "content_hash": None,
                "image_size": "123456",
                "is_a_build_of__service": _service(database, application, service),
            },
        )
        database.insert(
            "release_image", {"image": image, "is_part_of__release": number}
        )
        images.append(AddedImage(image, service, location))
    return AddedRelease(number, slug, commit, str(row["raw_version"]), tuple(images))


def _release_row(
    database: Database,
    match: re.Match[str],
    application: object,
    now: float,
    is_draft: bool,  # noqa: FBT001 - internal
    given: Row,
) -> Row:
    prerelease, build = match["prerelease"] or "", match["build"] or ""
    variant = str(given.get("variant", ""))
    time = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%S.000}Z"
    row: Row = {
        "status": "success",
        "semver": match[0],
        "semver_major": int(match["major"]),
        "semver_minor": int(match["minor"]),
        "semver_patch": int(match["patch"]),
        "semver_prerelease": prerelease,
        "semver_build": build,
        "variant": variant,
        "revision": None,
        "is_final": not is_draft,
        "is_invalidated": False,
        "is_passing_tests": True,
        "phase": None,
        "created_at": time,
        "start_timestamp": time,
        "end_timestamp": time,
        "belongs_to__application": application,
    }
    same = ("semver_major", "semver_minor", "semver_patch", "semver_prerelease")
    if not is_draft:
        taken = [
            int(str(other["revision"]))
            for other in database.rows("release")
            if other["revision"] is not None
            and other["belongs_to__application"] == application
            and all(other[name] == row[name] for name in (*same, "variant"))
        ]
        row["revision"] = max(taken, default=-1) + 1
    row |= given
    row.setdefault("raw_version", _raw_version(match, row, now))
    row.setdefault("commit", _made_up_hash(application, row["raw_version"]))
    row["version"] = {
        "raw": row["raw_version"],
        "build": build.split(".") if build else [],
        "major": row["semver_major"],
        "minor": row["semver_minor"],
        "patch": row["semver_patch"],
        "version": str(row["semver"]).partition("+")[0],
        "prerelease": prerelease.split(".") if prerelease else [],
    }
    return row


def _raw_version(match: re.Match[str], row: Row, now: float) -> str:
    revision = row["revision"]
    base = str(row["semver"]).partition("+")[0]
    if revision is None:
        # Drafts carry their creation time in milliseconds.
        return f"{base}{'.' if match['prerelease'] else '-'}{int(now * 1000)}"
    parts = [match["build"], f"rev{revision}" if revision else "", row["variant"]]
    build = ".".join(str(part) for part in parts if part)
    return f"{base}+{build}" if build else base


def _find(database: Database, resource: str, **fields: object) -> Row | None:
    return next(
        (
            row
            for row in database.rows(resource)
            if all(row[name] == value for name, value in fields.items())
        ),
        None,
    )


def _service(database: Database, application: Row, name: str) -> int:
    fields: Row = {"service_name": name, "application": application["id"]}
    found = _find(database, "service", **fields)
    return (
        database.insert("service", fields) if found is None else int(str(found["id"]))
    )


def _made_up_hash(*parts: object) -> str:
    text = "\n".join(map(str, parts))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
