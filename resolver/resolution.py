"""Decides for which location an alias stands: the resolver proper (design section 8).

One API request finds a release on the common path. A second one is made where the
first found nothing, to tell the user what would have worked.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from resolver import query
from resolver.api import Api
from resolver.credential import Credential
from resolver.errors import AccessDenied, Refusal, ReleaseUnknown
from resolver.reference import Alias, Location, Slug, parse_location
from resolver.release import (
    Image,
    Release,
    parse_newest_versions,
    parse_releases,
    parse_target_release,
    select_image,
    select_release,
)
from resolver.selector import TargetReading, parse_selector
from resolver.transport import Deadline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an alias came to."""

    alias: Alias
    release: Release
    image: Image
    location: Location

    def __str__(self) -> str:
        """Return the release and the beginning of the location, for a log."""
        return (
            f"{self.release.raw_version} (commit {self.release.commit[:7]})"
            f" → {self.location[:7]}…"
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

    def __init__(self, api: Api, registry_hosts: Collection[str]) -> None:
        self._api = api
        self._registry_hosts = frozenset(registry_hosts)

    def resolve(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Resolution:
        """Return what the alias stands for; see `Resolver.resolve`."""
        release = self._release(alias, credential, deadline)
        image = select_image(alias, release)
        return Resolution(alias, release, image, self._location(alias, image))

    def _release(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Release:
        readings = parse_selector(alias.selector)
        if isinstance(readings, TargetReading):
            return self._target_release(alias, credential, deadline)
        if readings:
            payload = self._api.query(
                query.releases(alias.slug, readings), credential, deadline
            )
            release = select_release(readings, parse_releases(payload))
            if release:
                return release
        raise self._refusal(
            alias.slug,
            f"{alias.slug} has no release {alias.selector} that can be pulled",
            credential,
            deadline,
        )

    def _target_release(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Release:
        payload = self._api.query(
            query.target_release(alias.slug), credential, deadline
        )
        applications = parse_target_release(payload)
        if not applications:
            raise denied(alias.slug)
        release = applications[0]
        if release and release.is_pullable:
            return release
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
        payload = self._api.query(query.newest_versions(slug), credential, deadline)
        applications = parse_newest_versions(payload)
        if not applications:
            return denied(slug)
        versions = ", ".join(version.replace("+", "_") for version in applications[0])
        there_are = f"its newest are {versions}" if versions else "it has no release"
        return ReleaseUnknown(f"{reason}; {there_are}")

    def _location(self, alias: Alias, image: Image) -> Location:
        host, _, name = image.stored_at.partition("/")
        location = parse_location(name)
        if host in self._registry_hosts and location:
            return location
        logger.error(
            "%s is stored at the registry %s, this proxy fronts %s: check the mode"
            " option (REGISTRY_URL)",
            alias,
            host,
            " or ".join(sorted(self._registry_hosts)),
        )
        raise ReleaseUnknown(
            f"{alias} is stored in another registry than the one behind this proxy;"
            " its operator finds the reason in the log"
        )


def denied(slug: Slug) -> AccessDenied:
    """Return the refusal for private and absent applications alike (rule S11)."""
    return AccessDenied(
        f"{slug} is private or does not exist: check its name, or log in with docker"
        " login, any user name and a balena API key as password"
    )
