"""What the API's data looks like: resources, their fields and their links.

Only what the sample catalog holds: the real model has more resources, and more
fields on these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """How a field is stored and shown."""

    INTEGER = "INTEGER"
    TEXT = "TEXT"
    BOOLEAN = "BOOLEAN"
    JSON = "JSON"
    LINK = "LINK"


@dataclass(frozen=True, slots=True)
class Link:
    """A navigation to another resource.

    ``column`` refers to the target when the link is to one (it stands on this
    side then), and to this resource when it is to many (on the target's side).
    """

    target: str
    column: str
    is_to_many: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource: fields in the order in which the API shows them, and links."""

    name: str
    fields: Mapping[str, Kind]
    links: Mapping[str, Link]
    forbidden: frozenset[str] = field(default_factory=frozenset)
    """Links to resources that localcloud does not hold. The real API refuses
    them to an anonymous caller only; here they are refused to everybody."""


def _to_many(target: str, column: str) -> Link:
    return Link(target, column, is_to_many=True)


_APPLICATION = Resource(
    "application",
    {
        "should_be_running__release": Kind.LINK,
        "id": Kind.INTEGER,
        "slug": Kind.TEXT,
        "app_name": Kind.TEXT,
        "is_public": Kind.BOOLEAN,
        "is_of__class": Kind.TEXT,
        "should_track_latest_release": Kind.BOOLEAN,
        "is_archived": Kind.BOOLEAN,
    },
    {
        "should_be_running__release": Link("release", "should_be_running__release"),
        "owns__release": _to_many("release", "belongs_to__application"),
        "service": _to_many("service", "application"),
    },
    frozenset(
        {
            "organization",
            "owns__device",
            "is_for__device_type",
            "application_tag",
            "application_type",
            "depends_on__application",
        }
    ),
)

_RELEASE = Resource(
    "release",
    {
        "id": Kind.INTEGER,
        "commit": Kind.TEXT,
        "status": Kind.TEXT,
        "semver": Kind.TEXT,
        "semver_major": Kind.INTEGER,
        "semver_minor": Kind.INTEGER,
        "semver_patch": Kind.INTEGER,
        "semver_prerelease": Kind.TEXT,
        "semver_build": Kind.TEXT,
        "variant": Kind.TEXT,
        "revision": Kind.INTEGER,
        "raw_version": Kind.TEXT,
        "version": Kind.JSON,
        "is_final": Kind.BOOLEAN,
        "is_invalidated": Kind.BOOLEAN,
        "is_passing_tests": Kind.BOOLEAN,
        "phase": Kind.TEXT,
        "created_at": Kind.TEXT,
        "start_timestamp": Kind.TEXT,
        "end_timestamp": Kind.TEXT,
        "belongs_to__application": Kind.LINK,
    },
    {
        "belongs_to__application": Link("application", "belongs_to__application"),
        "release_image": _to_many("release_image", "is_part_of__release"),
        "contains__image": _to_many("release_image", "is_part_of__release"),
        "should_be_running_on__application": _to_many(
            "application", "should_be_running__release"
        ),
    },
    frozenset({"is_created_by__user", "release_tag", "release_asset"}),
)

_RELEASE_IMAGE = Resource(
    "release_image",
    {"id": Kind.INTEGER, "image": Kind.LINK, "is_part_of__release": Kind.LINK},
    {
        "image": Link("image", "image"),
        "is_part_of__release": Link("release", "is_part_of__release"),
    },
    frozenset({"image_label", "image_environment_variable"}),
)

_IMAGE = Resource(
    "image",
    {
        "id": Kind.INTEGER,
        "status": Kind.TEXT,
        "is_stored_at__image_location": Kind.TEXT,
        "content_hash": Kind.TEXT,
        "image_size": Kind.TEXT,
        "is_a_build_of__service": Kind.LINK,
    },
    {
        "is_a_build_of__service": Link("service", "is_a_build_of__service"),
        "release_image": _to_many("release_image", "image"),
    },
)

_SERVICE = Resource(
    "service",
    {"id": Kind.INTEGER, "service_name": Kind.TEXT, "application": Kind.LINK},
    {
        "application": Link("application", "application"),
        "is_built_by__image": _to_many("image", "is_a_build_of__service"),
    },
    frozenset({"service_environment_variable", "service_label"}),
)

RESOURCES: Mapping[str, Resource] = {
    resource.name: resource
    for resource in (_APPLICATION, _RELEASE, _RELEASE_IMAGE, _IMAGE, _SERVICE)
}
