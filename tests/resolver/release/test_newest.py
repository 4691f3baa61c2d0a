"""Every refusal names the newest versions in one order, and the target release."""

import pytest

from resolver.release.newest import describe_newest
from resolver.release.release import Release, parse_releases
from tests.resolver.fake import image_row, release_row


def release(raw_version: str, **fields: object) -> Release:
    """Return a release; one whose time is in its version is a draft."""
    plain, _, build = raw_version.partition("+")
    revision = int(build.removeprefix("rev")) if build.startswith("rev") else 0
    is_draft = plain.endswith("-1648554962021")
    semver = raw_version if build and not revision else plain
    row = release_row(raw_version, None if is_draft else revision, semver=semver)
    row |= fields
    (found,) = parse_releases({"d": [row]})
    return found


def releases(*raw_versions: str) -> list[Release]:
    """Return releases, each one made after the one before."""
    return [release(raw, id=number) for number, raw in enumerate(raw_versions)]


SEVERAL = ("1.0.0", "2.10.0", "2.9.0", "2.9.0+rev1", "3.0.0-rc.1", "2.9.1", "0.1.0")
FIVE = "its newest are 3.0.0-rc.1, 2.10.0, 2.9.1, 2.9.0, 1.0.0"


@pytest.mark.parametrize(
    ("raw_versions", "target", "said"),
    [
        (SEVERAL, None, FIVE),
        (
            SEVERAL,
            "2.9.0+rev1",
            "its newest are 3.0.0-rc.1, 2.10.0, 2.9.1, 2.9.0 (target), 1.0.0",
        ),
        (
            SEVERAL,
            "2.9.0",
            f"{FIVE}; its target is 2.9.0_rev0",
        ),
        (
            SEVERAL,
            "0.1.0",
            f"{FIVE}; its target is 0.1.0",
        ),
        (
            SEVERAL,
            "0.0.9+rev3",
            f"{FIVE}; its target is 0.0.9_rev3",
        ),
        (
            ("2.1.0+build.5", "2.0.0-RC1"),
            "2.1.0+build.5",
            "its newest are 2.1.0 (target), 2.0.0-rc1",
        ),
        (
            ("2.1.0+build.5", "2.1.0"),
            "2.1.0+build.5",
            "its newest is 2.1.0; its target is 2.1.0_build.5",
        ),
        (
            ("1.0.0", "1.0.1-1648554962021"),
            "1.0.1-1648554962021",
            "its newest is 1.0.0; its target is 1.0.1-1648554962021",
        ),
        (("1.0.0-1648554962021",), None, "it offers no version"),
        (("main",), None, "it offers no version"),
        ((), "1.0.0", "it offers no version; its target is 1.0.0_rev0"),
        ((), None, "it offers no version"),
    ],
)
def test_newest_versions(
    raw_versions: tuple[str, ...], target: str | None, said: str
) -> None:
    """Five versions are named, and what pulls the target release and no other."""
    found = releases(*raw_versions)
    assert describe_newest(found, release(target) if target else None) == said


@pytest.mark.parametrize(
    "fields",
    [
        {"is_invalidated": True},
        {"is_passing_tests": False},
        {"status": "failed"},
        {"release_image": []},
        {"release_image": [{"id": 1, "image": [image_row(status="failed")]}]},
    ],
)
def test_what_is_not_offered_is_not_named(fields: dict[str, object]) -> None:
    """Nor is a version whose highest revision is not offered: it is what it pulls."""
    odd = release("2.0.0", **fields)
    assert describe_newest([release("1.0.0"), odd]) == "its newest is 1.0.0"
    beyond = release("1.0.0+rev1", is_invalidated=True)
    assert describe_newest([release("1.0.0"), beyond]) == "it offers no version"


def test_target_that_cannot_be_pulled_is_not_named() -> None:
    """A refusal names nothing that would be refused."""
    target = release("2.0.0", status="failed")
    assert describe_newest([release("1.0.0"), target], target) == "its newest is 1.0.0"
