"""The newest versions of an application, as a refusal names them."""

from collections.abc import Iterable

from resolver.release import Release


def describe_newest(releases: Iterable[Release], _target: Release | None = None) -> str:
    """Return the words; another branch has the real ones."""
    names = list(dict.fromkeys(r.semver for r in releases if r.is_final))[:5]
    return f"its newest are {', '.join(names)}" if names else "it has no release"
