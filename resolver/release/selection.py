"""Selection: which of an application's releases, and which image of it, is meant.

Rules S1 to S10 of the design, on values alone: `query` asks for a superset of what
a reading can mean, and the choice is made here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import semver

from resolver.errors import ReleaseUnknown
from resolver.grammar.reference import Alias
from resolver.grammar.selector import (
    CommitReading,
    PrefixReading,
    RangeReading,
    RawVersionReading,
    ReleaseReading,
    VersionReading,
)
from resolver.release.release import Image, Release

CANDIDATES_MAX = 5
"""How many commits the refusal of an ambiguous prefix names."""

Spelling = Callable[[str], str]
"""What texts are compared by: as they stand, or in lower case."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The release that was chosen, and why."""

    release: Release
    reason: str


def select_release(
    alias: Alias, readings: Sequence[ReleaseReading], releases: Iterable[Release]
) -> Selection | None:
    """Return the release that the first fitting reading finds, or None.

    Case is ignored only where no reading finds one as it stands (S9).

    Raises:
        ReleaseUnknown: a commit prefix fits several releases (S5).

    """
    pullable = [release for release in releases if release.is_pullable]
    for spelling in (str, str.lower):
        for reading in readings:
            fits = [r for r in pullable if _fits(reading, r, spelling)]
            if fits:
                return _choose(alias, reading, fits)
    return None


def select_image(alias: Alias, release: Release) -> Image:
    """Return the image that the alias stands for (rule S8).

    Raises:
        ReleaseUnknown: there are several and none is named, or there is none such.

    """
    image_services = ", ".join(sorted(image.image_service for image in release.images))
    if alias.image_service is None:
        if len(release.images) == 1:
            return release.images[0]
        example = min(image.image_service for image in release.images).lower()
        raise ReleaseUnknown(
            f"release {release.raw_version} of {alias.slug} has several images:"
            f" {image_services}; name one, as in"
            f" {alias.slug}/{alias.selector or 'latest'}/{example}"
        )
    for spelling in (str, str.lower):
        for image in release.images:
            if spelling(image.image_service) == alias.image_service:
                return image
    raise ReleaseUnknown(
        f"release {release.raw_version} of {alias.slug} has no image service"
        f" {alias.image_service}; it has {image_services}"
    )


def _fits(reading: ReleaseReading, release: Release, spelling: Spelling) -> bool:
    match reading:
        case VersionReading(version):
            return release.is_final and spelling(release.version) == version
        case RawVersionReading(raw_version):
            return spelling(release.raw_version) == raw_version
        case CommitReading(commit):
            return release.commit == commit
        case RangeReading(major, minor):
            return is_offered(release) and _is_within(release, major, minor)
        case PrefixReading(prefix):
            return release.commit.startswith(prefix)


def is_offered(release: Release) -> bool:
    """Return whether a range may find the release (S6)."""
    return release.is_final and not release.is_invalidated and release.is_passing_tests


def is_plain(release: Release) -> bool:
    """Return whether the release has neither a build part nor a variant (S2)."""
    return not release.variant and "+" not in release.semver


def _is_within(release: Release, major: int, minor: int | None) -> bool:
    version = parse_version(release)
    return (
        # Whatever else it is, it is found by its whole version or by commit.
        version is not None
        and version.prerelease is None
        and version.major == major
        and minor in (None, version.minor)
    )


def _choose(
    alias: Alias, reading: ReleaseReading, releases: Sequence[Release]
) -> Selection:
    """Return the best of the releases that a reading finds, of which there is one."""
    match reading:
        case VersionReading(version):
            reason = f"the highest revision of {version}"
        case RawVersionReading():
            reason = "exactly that version"
        case CommitReading():
            reason = "the release of that commit"
        case RangeReading(major, minor):
            within = f"{major}.x" if minor is None else f"{major}.{minor}.x"
            greatest = max(releases, key=greatness)
            return Selection(greatest, f"the greatest final release of {within}")
        case PrefixReading(prefix):
            _check_unambiguous(alias, prefix, releases)
            reason = f"the one release whose commit begins with {prefix}"
    return Selection(max(releases, key=_precedence), reason)


def _check_unambiguous(alias: Alias, prefix: str, releases: Sequence[Release]) -> None:
    versions = {release.commit: release.raw_version for release in releases}
    if len(versions) == 1:
        return
    commits = sorted(versions)
    length = len(prefix) + 1
    while len({commit[:length] for commit in commits}) < len(commits):
        length += 1
    examples = ", ".join(
        f"{commit[:length]} ({versions[commit]})" for commit in commits[:CANDIDATES_MAX]
    )
    raise ReleaseUnknown(
        f"{len(commits)} commits of {alias.slug} begin with {prefix}: {examples};"
        " give more of the one that is meant"
    )


def _precedence(release: Release) -> tuple[bool, int, int]:
    """Order releases of one version: plain before build or variant, then revision."""
    revision = -1 if release.revision is None else release.revision
    return is_plain(release), revision, release.id


def parse_version(release: Release) -> semver.Version | None:
    """Return the version for comparison, or None where it is no semantic version."""
    try:
        return semver.Version.parse(release.semver)
    except ValueError:
        return None


def greatness(release: Release) -> tuple[object, ...]:
    """Order releases by semver precedence, which knows no build part, then revision.

    What is no semantic version comes before all that is one, in the order of ids.
    Plain values, because two of semver's versions are compared slowly.
    """
    version = parse_version(release)
    if version is None:
        return False, release.id
    numbers = version.major, version.minor, version.patch
    return True, numbers, _prerelease_rank(version.prerelease), _precedence(release)


def _prerelease_rank(prerelease: str | None) -> tuple[object, ...]:
    """Order pre-releases, and what is none after them.

    https://semver.org/#spec-item-11
    """
    if prerelease is None:
        return (True,)
    # A number has no leading zeros, so the longer one is the greater.
    return False, *(
        (False, len(name), name) if name.isdecimal() else (True, 0, name)
        for name in prerelease.split(".")
    )
