"""What the API says of releases becomes values, or an error."""

from collections.abc import Callable
from typing import Any

import pytest

from resolver.errors import ServiceUnavailable
from resolver.release.release import (
    Application,
    Image,
    Release,
    parse_application,
    parse_releases,
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
    (release,) = parse_releases({"d": [release_row()]})
    image = Image(f"registry2.example.com/v2/{HASH}", "main", "success", DIGEST)
    assert release == Release(
        30, COMMIT, "2.3.8+rev2", "2.3.8", 2, "", "success", False, True, (image,)
    )
    assert release.is_final
    assert release.is_pullable


def test_digest_may_be_unknown() -> None:
    """An image whose digest the API does not know is as good."""
    row = image_row() | {"content_hash": None}
    (release,) = parse_releases({"d": [release_row("1.0.0", 0, row)]})
    assert release.images[0].content_hash is None
    assert release.is_pullable


def test_application_is_read() -> None:
    """An application has a target release or none, and others in the answer's order."""
    application = parse_application({"d": [versions_row("2.3.8+rev2", "2.3.8")]})
    assert application
    assert application.target
    assert application.target.raw_version == "2.3.8+rev2"
    assert [each.raw_version for each in application.releases] == [
        "2.3.8+rev2",
        "2.3.8",
    ]
    bare = {"d": [target_row(None)]}
    assert parse_application(bare, has_releases=False) == Application(None, ())
    with pytest.raises(ServiceUnavailable):
        parse_application(bare)
    assert parse_application({"d": []}) is None


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
    "versions-object": {"d": [target_row(None) | {"owns__release": {}}]},
}


@pytest.mark.parametrize("payload", SENSELESS.values(), ids=SENSELESS)
@pytest.mark.parametrize(
    "parse",
    [parse_releases, parse_application],
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
