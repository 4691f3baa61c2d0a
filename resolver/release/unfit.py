"""Why releases that are there are not pulled, for whoever knows that they are there."""

from collections.abc import Iterable

from resolver.release.release import SUCCESS, Release

DRAFT = "is a draft"
"""What the refusal says of each; `cause.content` knows what to do about it by that."""
INVALIDATED = "is invalidated"
UNTESTED = "does not pass its tests"
UNBUILT = "its build has the status"
IMAGELESS = "it has no image"


def describe_unfit(releases: Iterable[Release]) -> str:
    """Return why the first of them is not what was asked for; nothing for none."""
    for release in releases:
        if reason := _reason(release):
            return reason
    return ""


def _reason(release: Release) -> str:
    version = release.raw_version
    statuses = [image.status for image in release.images if image.status != SUCCESS]
    if release.status != SUCCESS:
        statuses.insert(0, release.status)
    if statuses:
        return f"{version} is there, and {UNBUILT} {statuses[0]}"
    if not release.images:
        return f"{version} is there, and {IMAGELESS}"
    if not release.is_final:
        pulled = release.exact_selector.lower()
        return f"{version} {DRAFT}, which is pulled as {pulled} alone"
    by_whole = f"and is pulled as {release.exact_selector.lower()} alone"
    if release.is_invalidated:
        return f"{version} {INVALIDATED}, {by_whole}"
    if not release.is_passing_tests:
        return f"{version} {UNTESTED}, {by_whole}"
    return ""
