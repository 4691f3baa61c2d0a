"""Decides how a resolution, or all releases of an application, read in a terminal."""

from collections.abc import Iterable

from resolver.release import SUCCESS, Release
from resolver.resolution import Resolution


def describe_resolution(resolution: Resolution) -> str:
    """Return what an alias stands for, one fact in a line."""
    release, image = resolution.release, resolution.image
    facts = {
        "release": release.raw_version,
        "revision": "draft" if release.revision is None else str(release.revision),
        "commit": release.commit,
        "service": image.image_service,
        "location": resolution.location,
        "digest": image.content_hash or "not known to the API",
        "because": f"it is {resolution.reason}",
    }
    return "\n".join(
        [
            str(resolution.alias),
            *(f"  {name:<9} {fact}" for name, fact in facts.items()),
        ]
    )


def describe_releases(releases: Iterable[Release]) -> str:
    """Return a table of releases, in the order in which they come."""
    rows = [("RELEASE", "COMMIT", "SERVICES", "STATE")]
    rows += [
        (
            release.raw_version.replace("+", "_"),
            release.commit[:7],
            ",".join(image.image_service for image in release.images) or "-",
            _state(release),
        )
        for release in releases
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _state(release: Release) -> str:
    """Return what matters about pulling the release."""
    states = [
        "final" if release.is_final else "draft",
        "" if release.status == SUCCESS else release.status,
        "" if release.images else "no image",
        *(
            f"image {image.image_service} {image.status}"
            for image in release.images
            if image.status not in (SUCCESS, release.status)
        ),
        "invalidated" if release.is_invalidated else "",
        "" if release.is_passing_tests else "tests failing",
    ]
    return ", ".join(filter(None, states))
