"""The API's answers read as a table of releases, whatever was asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

import tests.localcloud
from mitm.story.kind import OwnKind
from tests.localcloud.test_recordings import read_recording
from tests.mitm.view.sample import make_flow, shown, squeezed
from tests.resolver.fake import SLUG, release_row

RECORDINGS = Path(tests.localcloud.__file__).with_name("recordings")


def described(path: str, body: bytes) -> str:
    """Return what is shown of the API's answer."""
    view, text = shown(make_flow(OwnKind.RESOLUTION, path, body=body))
    assert view == "registry releases"
    return text


def of_rows(*rows: object, resource: str = "release") -> list[str]:
    """Return the lines that are shown of an answer with these rows."""
    body = json.dumps({"d": rows}).encode()
    return squeezed(described(f"/v7/{resource}?$select=id", body))


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "application-default-release",
            [
                f"{SLUG}: 1 target release",
                "version commit status service image location digest",
                "2.3.8+rev2 b4b201f success main success v2/567e... 8588b75b2d72",
                "stored at registry2.example.com",
            ],
        ),
        (
            "release-exact-9.9.9",
            ["no release: none fits, or the key may not see the application"],
        ),
        (
            "application-private-anonymous",
            ["no application: it does not exist, or the key may not see it"],
        ),
        (
            "application-private-member",
            ["balenablocks/private-block: its releases were not asked for"],
        ),
    ],
)
def test_recorded_answer(name: str, lines: list[str]) -> None:
    """What the real API answered, with the columns that were asked for."""
    recording = read_recording(RECORDINGS / f"{name}.http")
    assert squeezed(described(recording.target, recording.body.encode())) == lines


@pytest.mark.parametrize("link", ["owns__release", "should_be_running__release"])
def test_application_without_releases(link: str) -> None:
    """It is there, and has none."""
    noun = "release" if link == "owns__release" else "target release"
    row = {"slug": "org/app", link: []}
    assert of_rows(row, resource="application") == [f"org/app: no {noun}"]


def test_release_that_cannot_be_pulled() -> None:
    """No image, failing tests, another registry: all of it is seen."""
    odd = {
        **release_row(),
        "is_passing_tests": False,
        "is_invalidated": True,
        "release_image": [],
    }
    lines = of_rows(release_row(), odd)
    assert any("final, invalidated, tests fail success none" in line for line in lines)


def test_odd_rows_are_shown() -> None:
    """What the resolver leaves out or refuses is shown as it stands, each in a line."""
    image: dict[str, Any] = {"status": "a\nb", "is_stored_at__image_location": "host/x"}
    rows = [
        "text",
        {"raw_version": "1\n2", "commit": 7, "revision": "x", "release_image": [image]},
        {"raw_version": "3", "release_image": [{"image": [image]}, {"image": 5}, None]},
        {"raw_version": "4", "release_image": "none of it"},
    ]
    lines = of_rows(*rows)
    assert lines == [
        "4 releases",
        "version revision commit state service image location",
        "text",
        rf"1\n2 x 7 final {json.dumps(image)}",
        r"3 a\nb host/x",
        '{"image": 5}',
        "none",
        "4 none of it",
        "stored at host",
    ]


def test_very_many_releases() -> None:
    """The table has an end."""
    lines = of_rows(*[{"raw_version": str(n)} for n in range(501)])
    assert lines[0] == "501 releases"
    assert lines[-2:] == ["499", "... and more"]
