"""Decides for which location an alias stands: the resolver proper (design section 8).

One API request finds a release on the common path. A second one is made where the
first found nothing, to tell the user what would have worked.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from resolver import query
from resolver.api import Api
from resolver.credential import Credential
from resolver.deadline import Deadline
from resolver.errors import AccessDenied, Refusal, ReleaseUnknown
from resolver.newest import describe_newest
from resolver.reference import Alias, Location, Slug, parse_location
from resolver.release import (
    Image,
    Release,
    parse_releases,
    parse_tagged_releases,
    parse_target_release,
)
from resolver.selection import Selection, select_image, select_release
from resolver.selector import (
    RangeReading,
    ReleaseReading,
    TargetReading,
    parse_selector,
)

logger = logging.getLogger(__name__)

TARGET_REASON = "the target release of the application"
GREATEST_COUNT = 25
"""How many releases of a range are asked for first: among so many one has images."""
NEWEST_WINDOW = 60
"""Among how many of the greatest releases a refusal finds its versions: some versions
have many revisions."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an alias came to."""

    alias: Alias
    release: Release
    image: Image
    location: Location
    reason: str
    """Why it is this release."""

    def __str__(self) -> str:
        """Return the release and the beginning of the location, for a log."""
        return (
            f"{self.release.raw_version} (commit {self.release.commit[:7]})"
            f" -> {self.location[:7]}..."
        )


class Resolver(Protocol):
    """Whatever finds the location of an alias."""

    def resolve(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Resolution:
        """Return what the alias stands for.

        Raises:
            Refusal: the client cannot pull it.
            RateLimited: the API limits the rate.
            ServiceUnavailable: the API fails, or does not answer in time.

        """


class ApiResolver:
    """Asks the API each time, with the client's own credential (rule S11)."""

    def __init__(self, api: Api, registry_hosts: Collection[str] | None) -> None:
        """Take images of these registries, or of any registry for None."""
        self._api = api
        self._registry_hosts = registry_hosts

    def resolve(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Resolution:
        """Return what the alias stands for; see `Resolver.resolve`."""
        selection = self._select(alias, credential, deadline)
        release = selection.release
        image = select_image(alias, release)
        location = self.location(alias, image)
        return Resolution(alias, release, image, location, selection.reason)

    def _select(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Selection:
        readings = parse_selector(alias.selector)
        if isinstance(readings, TargetReading):
            return self._select_target(alias, credential, deadline)
        for top in _tops(readings):
            asked = query.releases(alias.slug, readings, top=top)
            releases = parse_releases(self._api.query(asked, credential, deadline))
            selection = select_release(alias, readings, releases)
            if selection:
                return selection
            if top is not None and len(releases) < top:
                break
        raise self._refusal(
            alias.slug,
            f"{alias.slug} has no release {alias.selector} that can be pulled",
            credential,
            deadline,
        )

    def _select_target(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Selection:
        payload = self._api.query(
            query.target_release(alias.slug), credential, deadline
        )
        applications = parse_target_release(payload)
        if not applications:
            raise denied(alias.slug)
        release = applications[0]
        if release and release.is_pullable:
            return Selection(release, TARGET_REASON)
        raise self._refusal(
            alias.slug,
            f"{alias.slug} has no target release that can be pulled",
            credential,
            deadline,
        )

    def _refusal(
        self, slug: Slug, reason: str, credential: Credential, deadline: Deadline
    ) -> Refusal:
        """Return why there is no release, with the versions that there are."""
        payload = self._api.query(
            query.tagged_releases(slug, NEWEST_WINDOW), credential, deadline
        )
        applications = parse_tagged_releases(payload)
        if not applications:
            return denied(slug)
        target, releases = applications[0]
        return ReleaseUnknown(f"{reason}; {describe_newest(releases, target)}")

    def find_location(self, image: Image) -> Location | None:
        """Return where the image is in this registry, or None where it is elsewhere."""
        host, _, name = image.stored_at.partition("/")
        hosts = self._registry_hosts
        return parse_location(name) if hosts is None or host in hosts else None

    def location(self, alias: Alias, image: Image) -> Location:
        """Return where the image is in this registry.

        Raises:
            ReleaseUnknown: it is elsewhere, and the log says where.

        """
        if location := self.find_location(image):
            return location
        logger.error(
            "%s is stored at the registry %s, this proxy fronts %s: check the mode"
            " option (REGISTRY_URL)",
            alias,
            image.stored_at.partition("/")[0],
            " or ".join(sorted(self._registry_hosts or ())),
        )
        raise ReleaseUnknown(
            f"{alias} is stored in another registry than the one behind this proxy;"
            " its operator finds the reason in the log"
        )


def _tops(readings: Sequence[ReleaseReading]) -> tuple[int | None, ...]:
    """Return how many releases to ask for, and how many if none of those will do.

    A range may find hundreds, and one of the greatest is meant.
    """
    if not readings:
        return ()
    is_range = all(isinstance(reading, RangeReading) for reading in readings)
    return (GREATEST_COUNT, None) if is_range else (None,)


def denied(slug: Slug) -> AccessDenied:
    """Return the refusal for private and absent applications alike (rule S11)."""
    return AccessDenied(
        f"{slug} is private or does not exist: check its name, or log in with docker"
        " login, any user name and a balena API key as password"
    )
