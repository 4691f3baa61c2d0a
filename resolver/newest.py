"""placeholder until the other branch"""

from collections.abc import Iterable

from resolver.release import Release


def describe_newest(releases: Iterable[Release], target: Release | None = None) -> str:
    names = list(dict.fromkeys(r.semver for r in releases if r.is_final))[:5]
    return f"its newest are {', '.join(names)}" if names else "it has no release"
