"""Resolution: for which location an alias stands (design section 8).

One API request finds a release on the common path. Two more are made where the first
found nothing, to tell the user what would have worked, and what is there and does not.
"""

import logging
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from resolver.errors import (
    AccessDenied,
    RateLimited,
    Refusal,
    ReleaseUnknown,
    ServiceUnavailable,
    TargetUnknown,
)
from resolver.grammar.credential import Credential
from resolver.grammar.reference import Alias, Location, Slug, parse_location
from resolver.grammar.selector import (
    RangeReading,
    ReleaseReading,
    VersionReading,
    parse_selector,
)
from resolver.release import query
from resolver.release.candidate import (
    TARGET_REASON,
    Candidate,
    Candidates,
    hide_from_ranges,
    order,
)
from resolver.release.newest import describe_newest
from resolver.release.release import (
    Application,
    Image,
    Release,
    parse_application,
    parse_releases,
)
from resolver.release.selection import (
    Selection,
    is_plain,
    select_image,
    select_release,
)
from resolver.release.unfit import describe_unfit
from resolver.upstream.api import Api
from resolver.upstream.deadline import Deadline

logger = logging.getLogger(__name__)

GREATEST_COUNT = 25
"""How many releases of a range are asked for first: among so many one has images."""
NEWEST_WINDOW = 60
"""Among how many of the greatest releases a refusal finds its versions: some versions
have many revisions."""
UNFIT_COUNT = 5
"""How many releases are looked at for why nothing can be pulled."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an alias came to."""

    alias: Alias
    release: Release
    image: Image
    location: Location
    reason: str
    """Why it is this release."""
    many: Candidates | None = None
    """What tags select among, where they select."""

    @property
    def candidates(self) -> Candidates:
        """What the alias can stand for."""
        return self.many or Candidates((Candidate(self.location),))

    def __str__(self) -> str:
        """Return the release and the beginning of the location, for a log."""
        return (
            f"{self.release.raw_version} (commit {self.release.commit[:7]})"
            f" -> {self.location[:7]}..."
        )


def candidates_of(outcome: Resolution | Refusal) -> Candidates:
    """Return what there is to select among, which a refusal of the target may have."""
    candidates = getattr(outcome, "candidates", None)
    return candidates if isinstance(candidates, Candidates) else Candidates()


class ApiResolver:
    """Asks the API each time, with the client's own credential (rule S11)."""

    def __init__(
        self, api: Api, registry_hosts: Collection[str] | None, *, tags: int = 0
    ) -> None:
        """Take images of these registries, or of any registry for None.

        Let tags select among so many releases, or, with 0, among none.
        """
        self._api = api
        self._registry_hosts = registry_hosts
        self._tags = tags

    def resolve(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Resolution:
        """Return what the alias stands for.

        Raises:
            Refusal: the client cannot pull it.
            RateLimited: the API limits the rate.
            ServiceUnavailable: the API fails, or does not answer in time.

        """
        if self._tags and alias.selector is None:
            return self._resolve_all(alias, credential, deadline)
        selection = self._select(alias, credential, deadline)
        release = selection.release
        image = select_image(alias, release)
        location = self._location(alias, image)
        return Resolution(alias, release, image, location, selection.reason)

    def _select(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Selection:
        readings = parse_selector(alias.selector)
        if readings is None:
            return self._select_target(alias, credential, deadline)
        for top in _tops(readings):
            path = query.releases(alias.slug, readings, top=top)
            releases = parse_releases(self._api.query(path, credential, deadline))
            selection = select_release(alias, readings, releases)
            if selection:
                return selection
            if top is not None and len(releases) < top:
                break
        raise self._refusal(
            alias.slug,
            f"{alias.slug} has no release {alias.selector} that can be pulled",
            lambda: self._unfit(alias.slug, readings, credential, deadline),
            credential,
            deadline,
        )

    def _select_target(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Selection:
        path = query.target_release(alias.slug)
        payload = self._api.query(path, credential, deadline)
        application = parse_application(payload, has_releases=False)
        if application is None:
            raise deny(alias.slug, credential)
        target = application.target
        if target and target.is_pullable:
            return Selection(target, TARGET_REASON)
        raise self._refusal(
            alias.slug,
            f"{alias.slug} has no target release that can be pulled",
            lambda: describe_unfit([target] if target else []),
            credential,
            deadline,
        )

    def _resolve_all(
        self, alias: Alias, credential: Credential, deadline: Deadline
    ) -> Resolution:
        """Return the target release, and what tags select among.

        Raises:
            TargetUnknown: there is no target release to pull.

        """
        count = self._tags
        # One more than is looked at, to know whether there are more.
        path = query.greatest_releases(alias.slug, count + 1)
        application = self._application(alias.slug, path, credential, deadline)
        target, releases = application.target, application.releases
        greatest = _without_gap(releases, count)
        numbers = {release.id for release in greatest}
        rows = self._rows(greatest, target)
        if target and target.id not in numbers and target.is_pullable:
            # It is pinned, to a draft or to a release that many others are beyond.
            same = self._of_version(alias, target, credential, deadline)
            others = [release for release in same if release.id not in numbers]
            rows += tuple(map(hide_from_ranges, self._rows(others, target)))
        many = Candidates(order(rows), is_whole=len(releases) <= count).cut(count)
        try:
            return self._target(alias, target, many)
        except ReleaseUnknown as refusal:
            if any(row.location or _has_several(row) for row in many.rows):
                raise TargetUnknown(refusal.message, many) from refusal
            for release in releases:
                if release.is_pullable:
                    self._location(alias, release.images[0])  # It is elsewhere.
            raise

    def _target(
        self, alias: Alias, release: Release | None, many: Candidates
    ) -> Resolution:
        """Return what the alias means without a tag (rules S1 and S8)."""
        if release is None or not release.is_pullable:
            newest = describe_newest([r.release for r in many.rows if r.release])
            why = describe_unfit([release] if release else [])
            raise ReleaseUnknown(
                f"{alias.slug} has no target release that can be pulled"
                f"{why and f': {why}'}; {newest}"
            )
        image = select_image(alias, release)
        location = self._location(alias, image)
        return Resolution(alias, release, image, location, TARGET_REASON, many)

    def _of_version(
        self, alias: Alias, target: Release, credential: Credential, deadline: Deadline
    ) -> list[Release]:
        """Return the target release, and what else its version may mean (S2)."""
        if not target.is_final:
            return [target]
        readings = (VersionReading(target.version.lower()),)
        path = query.releases(alias.slug, readings)
        releases = parse_releases(self._api.query(path, credential, deadline))
        highest = select_release(alias, readings, releases)
        others = [highest.release] if highest else []
        return [target, *(r for r in others if r.id != target.id)]

    def _rows(
        self, releases: Iterable[Release], target: Release | None
    ) -> tuple[Candidate, ...]:
        """Return those that can be pulled; an image elsewhere has no location."""
        rows: list[Candidate] = []
        for release in releases:
            if not release.is_pullable:
                continue
            is_target = target is not None and release.id == target.id
            first, *others = release.images
            location = None if others else self._find_location(first)
            rows.append(Candidate(location, _slim(release), is_target))
        return tuple(rows)

    def _refusal(
        self,
        slug: Slug,
        reason: str,
        describe: Callable[[], str],
        credential: Credential,
        deadline: Deadline,
    ) -> Refusal:
        """Return why there is no release, with the versions that there are."""
        path = query.greatest_releases(slug, NEWEST_WINDOW)
        application = self._application(slug, path, credential, deadline)
        newest = describe_newest(application.releases, application.target)
        why = describe()
        return ReleaseUnknown(f"{reason}{why and f': {why}'}; {newest}")

    def _unfit(
        self,
        slug: Slug,
        readings: Sequence[ReleaseReading],
        credential: Credential,
        deadline: Deadline,
    ) -> str:
        """Return why what is there is not pulled, if the API says so."""
        if not readings:
            return ""
        path = query.like(slug, readings, top=UNFIT_COUNT)
        try:
            releases = parse_releases(self._api.query(path, credential, deadline))
        except (RateLimited, ServiceUnavailable):
            return ""  # The refusal is known by now, and says enough.
        return describe_unfit(releases)

    def _application(
        self, slug: Slug, path: str, credential: Credential, deadline: Deadline
    ) -> Application:
        """Return the application and the releases that a query asks for.

        Raises:
            AccessDenied: the API shows none.

        """
        payload = self._api.query(path, credential, deadline)
        application = parse_application(payload)
        if application is None:
            raise deny(slug, credential)
        return application

    def _find_location(self, image: Image) -> Location | None:
        """Return where the image is in this registry, or None where it is elsewhere."""
        host, _, name = image.stored_at.partition("/")
        hosts = self._registry_hosts
        return parse_location(name) if hosts is None or host in hosts else None

    def _location(self, alias: Alias, image: Image) -> Location:
        """Return where the image is in this registry.

        Raises:
            ReleaseUnknown: it is elsewhere, and the log says where.

        """
        if location := self._find_location(image):
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


def _without_gap(releases: Sequence[Release], count: int) -> list[Release]:
    """Return the first ones of what came in the order of `query.greatest_releases`.

    Of the version at which the list ends there may be greater ones beyond it, because
    the API orders builds and variants by revision alone. Of plain releases those with
    higher revisions came before.
    """
    if len(releases) <= count:
        return list(releases)
    end = _numbers(releases[count])
    return [r for r in releases[:count] if _numbers(r) != end or is_plain(r)]


def _numbers(release: Release) -> str:
    """Return the version without what follows its three numbers."""
    return re.split("[-+]", release.semver, maxsplit=1)[0]


def _has_several(row: Candidate) -> bool:
    """Return whether its images are pulled by path alone."""
    return row.release is not None and len(row.release.images) > 1


def _slim(release: Release) -> Release:
    """Return the release without what selection does not need: it is remembered."""
    images = (replace(i, stored_at="", content_hash=None) for i in release.images)
    return replace(release, images=tuple(images))


def deny(slug: Slug, credential: Credential) -> AccessDenied:
    """Return the refusal for private and absent applications alike (rule S11)."""
    how = (
        "docker login, any user name and a balena API key as password"
        if credential.key is None
        else "a key that may see it"
    )
    return AccessDenied(
        f"{slug} is private or does not exist: check its name, or log in with {how}"
    )
