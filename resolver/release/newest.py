"""The newest versions of an application, as a refusal names them.

In every message they are the same: versions and not revisions, because `2.3.8` pulls
the highest revision of it (rule S2), in semver precedence order, and written so that
they can be pasted behind `<org>/<app>/`.
"""

from collections.abc import Iterable
from itertools import islice

from resolver.release.release import Release
from resolver.release.selection import greatness, is_offered, parse_version

NEWEST_COUNT = 5
"""How many versions a refusal names."""


def describe_newest(releases: Iterable[Release], target: Release | None = None) -> str:
    """Return in words which versions are the newest, and which is the target release.

    Where the target release is not what one of them pulls, it is named by itself.
    """
    by_version = _releases_by_version(releases)
    versions = (name for name, release in by_version.items() if is_offered(release))
    names = list(islice(versions, NEWEST_COUNT))
    labels = [
        f"{name} (target)" if target and _is_same(by_version[name], target) else name
        for name in names
    ]
    verb = "are" if len(names) > 1 else "is"
    message = (
        f"its newest {verb} {', '.join(labels)}" if names else "it offers no version"
    )
    if target is None or not target.is_pullable or labels != names:
        return message
    return f"{message}; its target is {_target_name(target, by_version)}"


def _releases_by_version(releases: Iterable[Release]) -> dict[str, Release]:
    """Return which release each version pulls, the greatest version first."""
    candidates = filter(_is_version, releases)
    by_version: dict[str, Release] = {}
    for release in sorted(candidates, key=greatness, reverse=True):
        by_version.setdefault(_version(release), release)
    return by_version


def _is_version(release: Release) -> bool:
    """Return whether a version can pull it: drafts are pulled by their whole one."""
    is_version = parse_version(release) is not None
    return is_version and release.is_final and release.is_pullable


def _version(release: Release) -> str:
    """Return what pulls the highest revision; names are in lower case."""
    return release.version.lower()


def _is_same(release: Release, other: Release) -> bool:
    return release.raw_version == other.raw_version


def _target_name(target: Release, by_version: dict[str, Release]) -> str:
    """Return what pulls the target release and no other revision of its version."""
    version = _version(target)
    if version in by_version and _is_same(by_version[version], target):
        return version
    return target.exact_selector.lower()
