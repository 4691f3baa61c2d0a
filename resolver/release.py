"""Decides which release, and which image of it, an alias stands for.

The words are those of `openBalena's API <https://github.com/balena-io/open-balena-api>`_:
a release is *final* when it has a revision, *draft* when it has none.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from resolver.errors import ReleaseUnknown, ServiceUnavailable
from resolver.reference import Alias
from resolver.selector import (
    CommitReading,
    DraftReading,
    ReleaseReading,
    VersionReading,
)

SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Image:
    """One image service of a release."""

    stored_at: str
    """Registry host and location, `<host>/v2/<hash>`."""
    image_service: str
    status: str
    content_hash: str | None
    """The digest of its manifest, where the API knows it."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release of an application, as far as selection needs it."""

    id: int
    commit: str
    raw_version: str
    semver: str
    """The version without revision, with the build part."""
    revision: int | None
    """None for a draft."""
    variant: str
    status: str
    images: tuple[Image, ...]

    @property
    def is_final(self) -> bool:
        """Whether it is final, and not a draft."""
        return self.revision is not None

    @property
    def is_pullable(self) -> bool:
        """Whether the release and all of its images were built (rule S7)."""
        return (
            self.status == SUCCESS
            and bool(self.images)
            and all(image.status == SUCCESS for image in self.images)
        )


def select_release(
    readings: Sequence[ReleaseReading], releases: Iterable[Release]
) -> Release | None:
    """Return the release that the first fitting reading finds, or None."""
    pullable = [release for release in releases if release.is_pullable]
    for reading in readings:
        found = [release for release in pullable if _fits(reading, release)]
        if found:
            return max(found, key=_precedence)
    return None


def select_image(alias: Alias, release: Release) -> Image:
    """Return the image that the alias stands for (rule S8).

    Raises:
        ReleaseUnknown: there are several and none is named, or there is none such.

    """
    services = ", ".join(sorted(image.image_service for image in release.images))
    if alias.image_service is None:
        if len(release.images) == 1:
            return release.images[0]
        example = min(image.image_service for image in release.images)
        raise ReleaseUnknown(
            f"release {release.raw_version} of {alias.slug} has several images:"
            f" {services}; name one, as in"
            f" {alias.slug}/{alias.selector or 'latest'}/{example}"
        )
    for image in release.images:
        if image.image_service == alias.image_service:
            return image
    raise ReleaseUnknown(
        f"release {release.raw_version} of {alias.slug} has no image service"
        f" {alias.image_service}; it has {services}"
    )


def parse_releases(payload: Any) -> tuple[Release, ...]:
    """Return the releases in an answer to a query for releases.

    Raises:
        ServiceUnavailable: the answer does not make sense.

    """
    return _parse(payload, lambda rows: tuple(map(_read_release, rows)))


def parse_target_release(payload: Any) -> tuple[Release | None, ...]:
    """Return for each application in the answer its target release, if it has one.

    Raises:
        ServiceUnavailable: the answer does not make sense.

    """
    return _parse(payload, lambda rows: tuple(map(_read_target, rows)))


def parse_newest_versions(payload: Any) -> tuple[tuple[str, ...], ...]:
    """Return for each application in the answer its newest raw versions.

    Raises:
        ServiceUnavailable: the answer does not make sense.

    """
    return _parse(payload, lambda rows: tuple(map(_read_versions, rows)))


def _fits(reading: ReleaseReading, release: Release) -> bool:
    match reading:
        case VersionReading(version):
            return release.is_final and release.semver.partition("+")[0] == version
        case DraftReading(raw_version):
            return not release.is_final and release.raw_version == raw_version
        case CommitReading(commit):
            return release.commit == commit


def _precedence(release: Release) -> tuple[bool, int, int]:
    """Order releases of one version: plain before build or variant, then revision."""
    plain = not release.variant and "+" not in release.semver
    revision = -1 if release.revision is None else release.revision
    return plain, revision, release.id


def _parse[T](payload: Any, read: Callable[[list[Any]], T]) -> T:
    """Read the rows of an OData answer; the one place where its shape is believed."""
    try:
        return read(payload["d"])
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise ServiceUnavailable.with_retry_after(
            "the balena API gave an answer that makes no sense; try again later", 10
        ) from error


def _read_release(row: Any) -> Release:
    return Release(
        id=int(row["id"]),
        commit=_text(row["commit"]),
        raw_version=_text(row["raw_version"]),
        semver=_text(row["semver"]),
        revision=None if row["revision"] is None else int(row["revision"]),
        variant=_text(row["variant"]),
        status=_text(row["status"]),
        images=tuple(_read_image(link["image"][0]) for link in row["release_image"]),
    )


def _read_image(row: Any) -> Image:
    content_hash = row["content_hash"]
    return Image(
        stored_at=_text(row["is_stored_at__image_location"]),
        image_service=_text(row["is_a_build_of__service"][0]["service_name"]),
        status=_text(row["status"]),
        content_hash=None if content_hash is None else _text(content_hash),
    )


def _read_target(row: Any) -> Release | None:
    linked = row["should_be_running__release"]
    return _read_release(linked[0]) if linked else None


def _read_versions(row: Any) -> tuple[str, ...]:
    return tuple(_text(release["raw_version"]) for release in row["owns__release"])


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
