"""What the API says of releases, and what it comes to: payloads become values here.

The words are those of `openBalena's API <https://github.com/balena-io/open-balena-api>`_:
a release is *final* when it has a revision, *draft* when it has none.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resolver.errors import Reason, ServiceUnavailable
from resolver.grammar.selector import FIRST_REVISION

logger = logging.getLogger(__name__)

SUCCESS = "success"
UNREADABLE = (
    *(KeyError, IndexError, TypeError, AttributeError),
    *(ValueError, OverflowError),
)
"""What reading a payload of another shape raises."""


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
    is_invalidated: bool
    is_passing_tests: bool
    images: tuple[Image, ...]
    started: str = ""
    """When its build did, where that was asked for: of a timestamp, the latest of those
    that can be tracked is the target release."""

    @property
    def version(self) -> str:
        """What means the highest revision of it: no revision, no build part (S2)."""
        return self.semver.partition("+")[0]

    @property
    def exact_selector(self) -> str:
        """What means this release and no other revision of its version (S3, S4)."""
        name = self.raw_version.replace("+", "_")
        is_first = self.is_final and self.raw_version == self.version
        return f"{name}_{FIRST_REVISION}" if is_first else name

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


@dataclass(frozen=True, slots=True)
class Application:
    """An application, as far as it was asked about."""

    target: Release | None
    """Its target release, if it has one."""
    releases: tuple[Release, ...]
    """In the order of the answer; none where they were not asked for."""


def parse_releases(payload: Any) -> tuple[Release, ...]:
    """Return the releases in an answer to a query for releases.

    Raises:
        ServiceUnavailable: the answer does not make sense.

    """
    return _parse(payload, _read_releases)


def parse_application(payload: Any, *, has_releases: bool = True) -> Application | None:
    """Return the application in an answer to a query for one, or None for none.

    Args:
        payload: the answer.
        has_releases: whether more than the target release was asked for.

    Raises:
        ServiceUnavailable: the answer does not make sense.

    """
    applications = _parse(
        payload,
        lambda rows: [
            _read_application(row, has_releases=has_releases) for row in rows
        ],
    )
    return applications[0] if applications else None


def _parse[T](payload: Any, read: Callable[[list[Any]], T]) -> T:
    """Read the rows of an OData answer; the one place where its shape is believed."""
    try:
        return read(_list(payload["d"]))
    except UNREADABLE as error:
        raise ServiceUnavailable.because(
            Reason.SENSELESS,
            "the balena API gave an answer that makes no sense; try again later",
        ) from error


def _read_releases(rows: list[Any]) -> tuple[Release, ...]:
    """Return the releases that can be read; one odd row does not sink the others."""
    releases: list[Release] = []
    failure: Exception | None = None
    for row in rows:
        try:
            releases.append(_read_release(row))
        except UNREADABLE as error:
            logger.warning("a release of the API's answer cannot be read: %r", error)
            failure = error
    if failure and not releases:
        raise failure
    return tuple(releases)


def _read_release(row: Any) -> Release:
    return Release(
        id=int(row["id"]),
        commit=_text(row["commit"]),
        raw_version=_text(row["raw_version"]),
        semver=_text(row["semver"]),
        revision=None if row["revision"] is None else int(row["revision"]),
        variant=_text(row["variant"]),
        status=_text(row["status"]),
        is_invalidated=bool(row["is_invalidated"]),
        is_passing_tests=bool(row["is_passing_tests"]),
        images=tuple(
            _read_image(link["image"][0]) for link in _list(row["release_image"])
        ),
        started=_text(row.get("start_timestamp") or ""),
    )


def _read_image(row: Any) -> Image:
    content_hash = row["content_hash"]
    return Image(
        stored_at=_text(row["is_stored_at__image_location"]),
        image_service=_text(row["is_a_build_of__service"][0]["service_name"]),
        status=_text(row["status"]),
        content_hash=None if content_hash is None else _text(content_hash),
    )


def _read_application(row: Any, *, has_releases: bool) -> Application:
    releases = _read_releases(_list(row["owns__release"])) if has_releases else ()
    targets = row["should_be_running__release"]
    if not targets:
        return Application(None, releases)
    # Beside all releases only its number is asked for.
    same = (release for release in releases if release.id == targets[0]["id"])
    return Application(next(same, None) or _read_release(targets[0]), releases)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise TypeError("not a printable text")
    return value
