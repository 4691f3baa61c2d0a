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
    HASH,
    image_row,
    release_row,
    target_row,
    versions_row,
)


def test_release_is_read() -> None:
    """A row becomes a release with its images, whose digest may be unknown."""
    row = release_row("2.3.8+rev2", 2, image_row() | {"content_hash": None})
    (release,) = parse_releases({"d": [row]})
    image = Image(f"registry2.example.com/v2/{HASH}", "main", "success", None)
    assert release == Release(
        30, COMMIT, "2.3.8+rev2", "2.3.8", 2, "", "success", False, True, (image,)
    )
    assert release.is_pullable


def test_application_is_read() -> None:
    """An application has a target release or none, and others in the answer's order."""
    application = parse_application({"d": [versions_row("2.3.8+rev2", "2.3.8")]})
    assert application
    first, second = application.releases
    assert application.target == first
    assert (first.raw_version, second.raw_version) == ("2.3.8+rev2", "2.3.8")
    bare = {"d": [target_row(None)]}
    assert parse_application(bare, has_releases=False) == Application(None, ())
    with pytest.raises(ServiceUnavailable):
        parse_application(bare)
    assert parse_application({"d": []}) is None


@pytest.mark.parametrize(
    "payload",
    [
        *(None, "Malformed url", 7, [], {}, {"d": None}, {"d": "x"}, {"d": ""}),
        *({"d": {}}, {"d": [None]}, {"d": [{}]}, {"d": [[]]}),
        {"d": [target_row(None) | {"owns__release": {}}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("parse", [parse_releases, parse_application])
def test_senseless_answer(parse: Callable[[Any], object], payload: Any) -> None:
    """An answer of another shape is the API's failure, to be tried again later."""
    with pytest.raises(ServiceUnavailable) as caught:
        parse(payload)
    assert caught.value.headers == (("Retry-After", "10"),)


NOWHERE = image_row() | {"is_stored_at__image_location": None}
NO_SERVICE = image_row() | {"is_a_build_of__service": []}


@pytest.mark.parametrize(
    "fields",
    [
        *({"id": "x"}, {"id": None}, {"commit": None}, {"raw_version": 2.3}),
        *({"revision": "two"}, {"variant": None}, {"release_image": ""}),
        *({"release_image": {"__id": 1}}, {"release_image": [{"image": []}]}),
        {"release_image": [{"image": {"__id": 1}}]},
        {"release_image": [{"image": [NOWHERE]}]},
        {"release_image": [{"image": [NO_SERVICE]}]},
    ],
    ids=str,
)
def test_senseless_release(fields: dict[str, Any]) -> None:
    """It is left out; an answer with no other release is the API's failure, too."""
    odd = release_row() | fields
    assert len(parse_releases({"d": [odd, release_row()]})) == 1
    with pytest.raises(ServiceUnavailable):
        parse_releases({"d": [odd]})
