"""The newest versions of an application, as a refusal names them.

In every message they are the same: versions and not revisions, because `2.3.8` pulls
the highest revision of it (rule S2), in semver precedence order, and written so that
they can be pasted behind `<org>/<app>/`.
"""

from collections.abc import Iterable
from itertools import islice

from resolver.grammar.selector import FIRST_REVISION
from resolver.release.release import Release
from resolver.release.selection import greatness, is_offered

NEWEST_COUNT = 5
"""How many versions a refusal names."""


def describe_newest(releases: Iterable[Release], target: Release | None = None) -> str:
    """Return in words which versions are the newest, and which is the target release.

    Where the target release is not what one of them pulls, it is named by itself.
    """
    pulled = _pulled_releases(releases)
    offered = (name for name, release in pulled.items() if is_offered(release))
    names = list(islice(offered, NEWEST_COUNT))
    marked = [
        f"{name} (target)" if target and _is_same(pulled[name], target) else name
        for name in names
    ]
    verb = "are" if len(names) > 1 else "is"
    said = f"its newest {verb} {', '.join(marked)}" if names else "it offers no version"
    if target is None or not target.is_pullable or marked != names:
        return said
    return f"{said}; its target is {_target_name(target, pulled)}"


def _pulled_releases(releases: Iterable[Release]) -> dict[str, Release]:
    """Return which release each version pulls, the greatest version first."""
    found = filter(_is_version, releases)
    pulled: dict[str, Release] = {}
    for release in sorted(found, key=greatness, reverse=True):
        pulled.setdefault(_version(release), release)
    return pulled


def _is_version(release: Release) -> bool:
    """Return whether a version can pull it: drafts are pulled by their whole one."""
    try:
        greatness(release)
    except ValueError:
        return False
    return release.is_final and release.is_pullable


def _version(release: Release) -> str:
    """Return what pulls the highest revision; names are in lower case."""
    return release.semver.partition("+")[0].lower()


def _is_same(release: Release, other: Release) -> bool:
    return release.raw_version == other.raw_version


def _target_name(target: Release, pulled: dict[str, Release]) -> str:
    """Return what pulls the target release and no other revision of its version."""
    version = _version(target)
    if version in pulled and _is_same(pulled[version], target):
        return version
    name = target.raw_version.replace("+", "_").lower()
    return f"{name}_{FIRST_REVISION}" if target.is_final and name == version else name
