"""A list of releases reads well, whatever the API says of them."""

from resolver.release.description import describe_releases
from resolver.release.release import Application, parse_releases
from tests.resolver.fake import image_row, release_row


def test_odd_releases_are_listed() -> None:
    """What is no version comes last, without a date there is none, and all is told."""
    failing = image_row(status="failed")
    releases = parse_releases(
        {
            "d": [
                release_row("main", 0, id=1, is_passing_tests=False),
                release_row("next", None, id=2, status="error"),
                release_row("1.0.0", 0, failing, status="cancelled", id=3),
            ]
        }
    )
    lines = describe_releases(Application(releases[0], releases)).splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "RELEASE STARTED COMMIT SERVICES STATE",
        "1.0.0 - b4b201f main final, cannot be pulled: cancelled and image main failed",
        "next - b4b201f main draft, cannot be pulled: error",
        "main - b4b201f main final, target, tests failing",
    ]
