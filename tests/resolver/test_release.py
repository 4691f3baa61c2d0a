"""Of the releases that the API names one is selected, and one of its images."""

from collections.abc import Callable
from typing import Any

import pytest

from resolver.errors import ReleaseUnknown, ServiceUnavailable
from resolver.reference import parse_alias
from resolver.release import (
    Image,
    Release,
    parse_newest_versions,
    parse_releases,
    parse_target_release,
    select_image,
    select_release,
)
from resolver.selector import (
    CommitReading,
    DraftReading,
    ReleaseReading,
    VersionReading,
)
from tests.resolver.fake import (
    COMMIT,
    DIGEST,
    HASH,
    image_row,
    release_row,
    target_row,
    versions_row,
)

# As the catalog of the measured API has them.
CATALOG = parse_releases(
    {
        "d": [
            release_row("2.3.8", 0, commit="11e1ee23d7ddf6ab6da99bac26c9d274"),
            release_row("2.3.8+rev2", 2, commit=COMMIT),
            release_row("2.3.8+rev1", 1, commit="8efb5303ef9d64b5900c5bfe00aa54fa"),
            release_row("2.3.8+rev10", 10, status="failed"),
            release_row("2.3.8+rev11", 11, image_row(status="failed")),
            release_row("2.3.8+rev12", 12, image_row(), image_row(status="running")),
            release_row("2.3.8+rev13", 13, release_image=[]),
            release_row("2.4.1-1648554962021", None, semver="2.4.1"),
            release_row("2.0.1-rc.1.1795452922763", None, semver="2.0.1-rc.1"),
            release_row("2.0.0-beta.1", 0),
            release_row("2.1.0+build.5", 0, semver="2.1.0+build.5"),
            release_row("2.1.0+build.6.rev9", 9, semver="2.1.0+build.6"),
            release_row("1.8.0", 0),
            release_row("1.8.0+dev", 0, variant="dev"),
            release_row("1.8.1", 0),
            release_row("1.8.1+rev7.dev", 7, variant="dev"),
            release_row("1.9.0+build.1.rev9", 9, semver="1.9.0+build.1"),
            release_row("1.9.0", 0),
            release_row("2.3.7", 0, commit="d" * 32, status="failed"),
            release_row("2.3.7+rev1", 1, commit="d" * 32),
            release_row("2.9.1", 0, is_invalidated=False),
            release_row("2.9.1+rev1", 1, is_invalidated=True),
            release_row("2.9.3", 0),
            release_row("2.9.3-1795452923826", None, semver="2.9.3"),
            release_row("0.0.0", 3, id=5, commit="e" * 32),
            release_row("0.0.0", 3, id=7, commit="e" * 40),
            release_row("0.0.0", 3, id=6, commit="f" * 32),
        ]
    }
)


@pytest.mark.parametrize(
    ("reading", "raw_version"),
    [
        (VersionReading("2.3.8"), "2.3.8+rev2"),
        (VersionReading("2.0.0-beta.1"), "2.0.0-beta.1"),
        (VersionReading("2.1.0"), "2.1.0+build.6.rev9"),
        (VersionReading("1.8.0"), "1.8.0"),
        (VersionReading("1.8.1"), "1.8.1"),
        (VersionReading("1.9.0"), "1.9.0"),
        (VersionReading("2.3.7"), "2.3.7+rev1"),
        (VersionReading("2.9.1"), "2.9.1+rev1"),
        (VersionReading("2.9.3"), "2.9.3"),
        (VersionReading("2.4.1"), None),
        (VersionReading("2.4.1-1648554962021"), None),
        (VersionReading("2.0.1-rc.1"), None),
        (VersionReading("2.3"), None),
        (VersionReading("2.3.80"), None),
        (VersionReading("9.9.9"), None),
        (DraftReading("2.4.1-1648554962021"), "2.4.1-1648554962021"),
        (DraftReading("2.0.1-rc.1.1795452922763"), "2.0.1-rc.1.1795452922763"),
        (DraftReading("2.4.1"), None),
        (DraftReading("2.0.1-rc.1"), None),
        (DraftReading("2.0.0-beta.1"), None),
        (CommitReading("11e1ee23d7ddf6ab6da99bac26c9d274"), "2.3.8"),
        (CommitReading("d" * 32), "2.3.7+rev1"),
        (CommitReading("11e1ee23"), None),
        (CommitReading("0" * 32), None),
    ],
    ids=str,
)
def test_select_release(reading: ReleaseReading, raw_version: str | None) -> None:
    """A reading finds the release that rules S2, S4, S5 and S7 say."""
    release = select_release((reading,), CATALOG)
    assert (release and release.raw_version) == raw_version


def test_first_fitting_reading_wins() -> None:
    """Readings are tried in their order, and not mixed (S10)."""
    readings = (VersionReading("9.9.9"), DraftReading("2.4.1-1648554962021"))
    found = select_release((*readings, VersionReading("2.3.8")), CATALOG)
    assert found
    assert found.raw_version == "2.4.1-1648554962021"
    found = select_release((VersionReading("2.3.8"), *readings), CATALOG)
    assert found
    assert found.raw_version == "2.3.8+rev2"


def test_equal_releases_are_told_apart() -> None:
    """Between releases of the same version and revision the later one wins."""
    found = select_release((VersionReading("0.0.0"),), reversed(CATALOG))
    assert found
    assert found.id == 7


def test_final_release_goes_before_a_draft() -> None:
    """A commit that is both a final release and a draft means the final one."""
    draft = release_row("1.0.0-1", None, id=9)
    final = release_row("1.0.0", 0, id=8)
    older = release_row("1.0.0-0", None, id=7)
    found = select_release(
        (CommitReading(COMMIT),), parse_releases({"d": [draft, final, older]})
    )
    assert found
    assert found.raw_version == "1.0.0"


def test_nothing_is_selected_from_nothing() -> None:
    """Without readings, or without releases, there is no release."""
    assert select_release((), CATALOG) is None
    assert select_release((VersionReading("2.3.8"),), ()) is None


def release_with(*services: str) -> Release:
    """Return release 1.7.0 with these image services."""
    images = (image_row(f"{i:032x}", name) for i, name in enumerate(services))
    return parse_releases({"d": [release_row("1.7.0", 0, *images)]})[0]


@pytest.mark.parametrize(
    ("name", "services", "found"),
    [
        ("org/app", ("main",), "main"),
        ("org/app/1.7.0", ("main",), "main"),
        ("org/app/1.7.0/main", ("main",), "main"),
        ("org/app/1.7.0/helper", ("main", "helper"), "helper"),
        ("org/app/latest/main", ("helper", "main"), "main"),
    ],
)
def test_select_image(name: str, services: tuple[str, ...], found: str) -> None:
    """An image is the only one, or the one that is named (S8)."""
    image = select_image(parse_alias(name), release_with(*services))
    assert image.image_service == found


@pytest.mark.parametrize(
    ("name", "services", "message"),
    [
        (
            "org/app/1.7.0",
            ("main", "helper"),
            (
                "release 1.7.0 of org/app has several images: helper, main;"
                " name one, as in org/app/1.7.0/helper"
            ),
        ),
        (
            "org/app",
            ("main", "helper"),
            (
                "release 1.7.0 of org/app has several images: helper, main;"
                " name one, as in org/app/latest/helper"
            ),
        ),
        (
            "org/app/1.7.0/mian",
            ("main", "helper"),
            "release 1.7.0 of org/app has no image service mian; it has helper, main",
        ),
        (
            "org/app/1.7.0/mian",
            ("main",),
            "release 1.7.0 of org/app has no image service mian; it has main",
        ),
    ],
    ids=["several", "several-latest", "unknown-of-two", "unknown-of-one"],
)
def test_no_image(name: str, services: tuple[str, ...], message: str) -> None:
    """A refusal names the image services that there are (S8)."""
    with pytest.raises(ReleaseUnknown) as caught:
        select_image(parse_alias(name), release_with(*services))
    assert caught.value.message == message


def test_release_is_read() -> None:
    """A row of the API becomes a release with its images."""
    (found,) = parse_releases({"d": [release_row()]})
    image = Image(f"registry2.example.com/v2/{HASH}", "main", "success", DIGEST)
    assert found == Release(
        30, COMMIT, "2.3.8+rev2", "2.3.8", 2, "", "success", (image,)
    )
    assert found.is_final
    assert found.is_pullable


def test_digest_may_be_unknown() -> None:
    """An image whose digest the API does not know is as good."""
    row = image_row() | {"content_hash": None}
    (found,) = parse_releases({"d": [release_row("1.0.0", 0, row)]})
    assert found.images[0].content_hash is None
    assert found.is_pullable


def test_target_release_is_read() -> None:
    """Each application has a target release or none."""
    payload = {"d": [target_row(release_row()), target_row(None)]}
    first, second = parse_target_release(payload)
    assert first
    assert (first.raw_version, second) == ("2.3.8+rev2", None)
    assert parse_target_release({"d": []}) == ()


def test_newest_versions_are_read() -> None:
    """Each application has its versions, in the order of the answer."""
    payload = {"d": [versions_row("2.3.8+rev2", "2.3.8"), versions_row()]}
    assert parse_newest_versions(payload) == (("2.3.8+rev2", "2.3.8"), ())
    assert parse_newest_versions({"d": []}) == ()


SENSELESS: dict[str, Any] = {
    "null": None,
    "text": "Malformed url",
    "number": 7,
    "list": [],
    "empty": {},
    "d-null": {"d": None},
    "d-number": {"d": 1},
    "d-text": {"d": "x"},
    "row-null": {"d": [None]},
    "row-number": {"d": [1]},
    "row-empty": {"d": [{}]},
    "row-list": {"d": [[]]},
    "d-object": {"d": {"a": 1}},
}


@pytest.mark.parametrize("payload", SENSELESS.values(), ids=SENSELESS)
@pytest.mark.parametrize(
    "parse",
    [parse_releases, parse_target_release, parse_newest_versions],
    ids=lambda parse: parse.__name__,
)
def test_senseless_answer(parse: Callable[[Any], object], payload: Any) -> None:
    """An answer of another shape is the API's failure, to be tried again later."""
    with pytest.raises(ServiceUnavailable) as caught:
        parse(payload)
    assert caught.value.headers == (("Retry-After", "10"),)


SENSELESS_FIELDS: dict[str, dict[str, Any]] = {
    "id-text": {"id": "x"},
    "id-null": {"id": None},
    "commit-null": {"commit": None},
    "raw_version-number": {"raw_version": 2.3},
    "revision-text": {"revision": "two"},
    "variant-null": {"variant": None},
    "release_image-deferred": {"release_image": {"__id": 1}},
    "image-empty": {"release_image": [{"image": []}]},
    "image-deferred": {"release_image": [{"image": {"__id": 1}}]},
    "location-null": {
        "release_image": [
            {"image": [image_row() | {"is_stored_at__image_location": None}]}
        ]
    },
    "service-empty": {
        "release_image": [{"image": [image_row() | {"is_a_build_of__service": []}]}]
    },
}


@pytest.mark.parametrize("fields", SENSELESS_FIELDS.values(), ids=SENSELESS_FIELDS)
def test_senseless_release(fields: dict[str, Any]) -> None:
    """A release whose fields are of another type is the API's failure, too."""
    with pytest.raises(ServiceUnavailable):
        parse_releases({"d": [release_row() | fields]})
