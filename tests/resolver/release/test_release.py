"""What the API says of releases becomes values, or an error."""

from collections.abc import Callable
from typing import Any

import pytest

from resolver.errors import ServiceUnavailable
from resolver.release.release import (
    Image,
    Release,
    parse_greatest_releases,
    parse_releases,
    parse_target_release,
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


def test_release_is_read() -> None:
    """A row of the API becomes a release with its images."""
    (found,) = parse_releases({"d": [release_row()]})
    image = Image(f"registry2.example.com/v2/{HASH}", "main", "success", DIGEST)
    assert found == Release(
        30, COMMIT, "2.3.8+rev2", "2.3.8", 2, "", "success", False, True, (image,)
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


def test_releases_of_an_application_are_read() -> None:
    """Each application has its target release and others, in the answer's order."""
    payload = {"d": [versions_row("2.3.8+rev2", "2.3.8"), versions_row()]}
    (target, releases), second = parse_greatest_releases(payload)
    assert target
    assert target.raw_version == "2.3.8+rev2"
    assert [release.raw_version for release in releases] == ["2.3.8+rev2", "2.3.8"]
    assert second == (None, ())
    assert parse_greatest_releases({"d": []}) == ()


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
    "d-object-empty": {"d": {}},
    "d-text-empty": {"d": ""},
    "versions-object": {"d": [{"owns__release": {}}]},
}


@pytest.mark.parametrize("payload", SENSELESS.values(), ids=SENSELESS)
@pytest.mark.parametrize(
    "parse",
    [parse_releases, parse_target_release, parse_greatest_releases],
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
    "release_image-text": {"release_image": ""},
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
