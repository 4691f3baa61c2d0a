"""A release that is there and not pulled: the reason in words."""

import pytest

from resolver.release.release import Release, parse_releases
from resolver.release.unfit import describe_unfit
from tests.resolver.fake import image_row, release_row


def releases(*found: object) -> tuple[Release, ...]:
    """Return the releases of such rows."""
    return parse_releases({"d": list(found)})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            release_row("1.4.0", 0, status="failed"),
            "1.4.0 is there, and its build has the status failed",
        ),
        (
            release_row("1.4.0", 0, status="running"),
            "1.4.0 is there, and its build has the status running",
        ),
        (
            release_row("1.4.0", 0, image_row(status="failed")),
            "1.4.0 is there, and its build has the status failed",
        ),
        (
            release_row("1.4.0", 0) | {"release_image": []},
            "1.4.0 is there, and it has no image",
        ),
        (
            release_row("1.4.0-16485", None, semver="1.4.0"),
            "1.4.0-16485 is a draft, which is pulled as 1.4.0-16485 alone",
        ),
        (
            release_row("1.4.0", 0, is_invalidated=True),
            "1.4.0 is invalidated, and is pulled as 1.4.0_rev0 alone",
        ),
        (
            release_row("1.4.0+rev1", 1, is_passing_tests=False),
            "1.4.0+rev1 does not pass its tests, and is pulled as 1.4.0_rev1 alone",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unfit(row: object, words: str) -> None:
    """It is said which release is there, and what it lacks."""
    assert describe_unfit(releases(row)) == words


def test_fit() -> None:
    """Nothing is said of none, and of those that could be pulled."""
    assert not describe_unfit(())
    assert not describe_unfit(releases(release_row()))
