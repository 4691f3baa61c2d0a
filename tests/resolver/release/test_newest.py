"""Refusals name the newest versions in one order, and lists name every release."""

from typing import Any

import pytest

from resolver.release.description import describe_releases
from resolver.release.newest import describe_newest
from resolver.release.release import Application, Release, parse_releases
from tests.resolver.fake import image_row, release_row

DRAFT = "1.0.1-1648554962021"
SEVERAL = f"1.0.0 2.10.0 2.9.0 2.9.0+rev1 3.0.0-rc.1 2.9.1 0.1.0 main {DRAFT}"
FIVE = "its newest are 3.0.0-rc.1, 2.10.0, 2.9.1, 2.9.0, 1.0.0"


def release(raw_version: str, **fields: Any) -> Release:
    """Return a release; one whose time is in its version is a draft."""
    plain, _, build = raw_version.partition("+")
    revision = int(build.removeprefix("rev")) if build.startswith("rev") else 0
    semver = raw_version if build and not revision else plain
    values: dict[str, Any] = {"semver": semver, **fields}
    row = release_row(raw_version, None if plain == DRAFT else revision, **values)
    return parse_releases({"d": [row]})[0]


@pytest.mark.parametrize(
    ("raw_versions", "target", "said"),
    [
        (SEVERAL, None, FIVE),
        (SEVERAL, "2.9.0+rev1", FIVE.replace("2.9.0", "2.9.0 (target)")),
        (SEVERAL, "2.9.0", f"{FIVE}; its target is 2.9.0_rev0"),
        (SEVERAL, "0.1.0", f"{FIVE}; its target is 0.1.0"),
        (SEVERAL, "0.0.9+rev3", f"{FIVE}; its target is 0.0.9_rev3"),
        (SEVERAL, DRAFT, f"{FIVE}; its target is {DRAFT}"),
        (
            "2.1.0+b.5 2.0.0-RC1",
            "2.1.0+b.5",
            "its newest are 2.1.0 (target), 2.0.0-rc1",
        ),
        ("2.1.0+b 2.1.0", "2.1.0+b", "its newest is 2.1.0; its target is 2.1.0_b"),
        (DRAFT, None, "it offers no version"),
        ("", "1.0.0", "it offers no version; its target is 1.0.0_rev0"),
    ],
)
def test_newest_versions(raw_versions: str, target: str | None, said: str) -> None:
    """Five versions are named, and what pulls the target release and no other."""
    found = map(release, raw_versions.split())
    assert describe_newest(found, release(target) if target else None) == said


@pytest.mark.parametrize(
    "fields",
    [
        {"is_invalidated": True},
        {"is_passing_tests": False},
        {"status": "failed"},
        {"release_image": []},
    ],
    ids=str,
)
def test_what_is_not_offered_is_not_named(fields: dict[str, Any]) -> None:
    """A refusal names nothing that would be refused, nor a failed target."""
    odd = release("2.0.0", **fields)
    assert describe_newest([release("1.0.0"), odd]) == "its newest is 1.0.0"
    if not odd.is_pullable:
        assert describe_newest([release("1.0.0")], odd) == "its newest is 1.0.0"


def test_version_is_what_its_highest_revision_is() -> None:
    """A version whose highest revision is not offered is not named."""
    beyond = release("1.0.0+rev1", is_invalidated=True)
    assert describe_newest([release("1.0.0"), beyond]) == "it offers no version"


def test_odd_releases_are_listed() -> None:
    """What is no version comes last, without a date there is none, and all is told."""
    failing = image_row(status="failed")
    rows = [
        release_row("main", 0, id=1, is_passing_tests=False),
        release_row("next", None, id=2, status="error"),
        release_row("1.0.0", 0, failing, status="cancelled", id=3),
    ]
    releases = parse_releases({"d": rows})
    lines = describe_releases(Application(releases[0], releases)).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "RELEASE STARTED COMMIT SERVICES STATE",
        "1.0.0 - b4b201f main final, cannot be pulled: cancelled and image main failed",
        "next - b4b201f main draft, cannot be pulled: error",
        "main - b4b201f main final, target, tests failing",
    ]
