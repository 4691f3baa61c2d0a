"""A resolution, and all releases of an application, in words for a terminal."""

from collections.abc import Iterator
from dataclasses import replace

from resolver.grammar.reference import Reference
from resolver.release.release import SUCCESS, Application, Release
from resolver.release.resolution import Resolution
from resolver.release.selection import greatness

DATE_LENGTH = 10
"""Characters of a timestamp that are its date."""


def describe_resolution(resolution: Resolution, reference: Reference) -> str:
    """Return what the reference stands for, one fact in a line."""
    release, image = resolution.release, resolution.image
    facts = [
        ("release", release.raw_version),
        ("revision", "draft" if release.revision is None else str(release.revision)),
        ("commit", release.commit),
        ("service", image.image_service),
        ("location", resolution.location),
        ("digest", image.content_hash or "not known to the API"),
        ("because", f"it is {resolution.reason}"),
        *(("note", note) for note in _notes(reference, image.content_hash)),
    ]
    return "\n".join(
        [str(resolution.alias), *(f"  {name:<9} {fact}" for name, fact in facts)]
    )


def describe_releases(application: Application) -> str:
    """Return a table of the releases, the greatest first."""
    target = application.target and application.target.id
    rows = [("RELEASE", "STARTED", "COMMIT", "SERVICES", "STATE")]
    rows += [
        (
            release.raw_version.replace("+", "_"),
            release.started[:DATE_LENGTH] or "-",
            release.commit[:7],
            ",".join(image.image_service for image in release.images) or "-",
            _state(release, is_target=release.id == target),
        )
        for release in sorted(application.releases, key=_greatness, reverse=True)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def _notes(reference: Reference, content_hash: str | None) -> Iterator[str]:
    """Yield what became of the parts that found no release."""
    tag, alias = reference.ignored_tag, reference.alias
    if tag is not None and alias.selector is None:
        yield f"the tag {tag} is ignored, as all are here: use {alias}/{tag}"
    elif tag is not None:
        yield f"the tag {tag} is ignored: the path says which release"
    if reference.digest is None:
        return
    if content_hash is None:
        yield "the digest cannot be compared; it is not what the release is found by"
    elif reference.digest == content_hash:
        yield f"{reference.digest} is the digest of this image"
    else:
        yield f"{reference.digest} is that of another image, or of none"


def _greatness(release: Release) -> tuple[object, ...]:
    """Order releases by version, drafts by their whole one; what is none comes last."""
    is_final = release.is_final
    return greatness(
        release if is_final else replace(release, semver=release.raw_version)
    )


def _state(release: Release, *, is_target: bool) -> str:
    """Return what matters about pulling the release."""
    obstacles = [
        "" if release.status == SUCCESS else release.status,
        "" if release.images else "no image",
        *(
            f"image {image.image_service} {image.status}"
            for image in release.images
            if image.status not in (SUCCESS, release.status)
        ),
    ]
    obstacle = " and ".join(filter(None, obstacles))
    states = [
        "final" if release.is_final else "draft",
        "target" if is_target else "",
        "invalidated" if release.is_invalidated else "",
        "" if release.is_passing_tests else "tests failing",
        f"cannot be pulled: {obstacle}" if obstacle else "",
    ]
    return ", ".join(filter(None, states))
