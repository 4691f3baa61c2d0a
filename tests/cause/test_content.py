"""What is said of releases, manifests and blobs, and what is not."""

from dataclasses import replace

import pytest

from cause.evidence import Evidence
from cause.finding import Cause, Role
from cause.judge import judge
from resolver.release.release import Release, parse_releases
from resolver.release.unfit import describe_unfit
from tests.resolver.fake import image_row, release_row

LOCATION = "v2/567e62d1e73529e7a31757ac1f3fb902"
ABSENT = Evidence(
    Role.REGISTRY,
    host="r.example",
    kind="manifest",
    name="org/app/1",
    status=404,
    code="MANIFEST_UNKNOWN",
    reference="latest",
    location=LOCATION,
    api="api.example",
)
"""A manifest that the registry does not have."""
UNKNOWN = Evidence(
    None, kind="token", name="org/app/1", status=200, code="NAME_UNKNOWN"
)


def release(*images: object, **fields: object) -> Release:
    """Return a release with these images."""
    row = release_row("1.4.0", 0) | fields
    if images:
        row["release_image"] = [{"id": 1, "image": [each]} for each in images]
    return parse_releases({"d": [row]})[0]


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("", "registry-proxy resolve --all"),
        (describe_unfit([release(status="failed")]), "build it anew"),
        (describe_unfit([release(status="running")]), "wait for the end of the build"),
        (describe_unfit([release(image_row(status="failed"))]), "build it anew"),
        (describe_unfit([release(release_image=[])]), "build it anew"),
        (describe_unfit([release(revision=None)]), "balena release finalize"),
        (describe_unfit([release(is_invalidated=True)]), "balena release validate"),
        (describe_unfit([release(is_passing_tests=False)]), "mend its tests"),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_release(reason: str, step: str) -> None:
    """What the refusal says of the release decides what to do about it."""
    why = f": {reason}" if reason else ""
    message = f"org/app has no release 1.4 that can be pulled{why}; its newest is 1.3.0"
    said = judge(replace(UNKNOWN, message=message))
    assert said
    assert said.cause is Cause.RELEASE
    assert said.sentence == message
    assert step in said.advice


@pytest.mark.parametrize("code", ["MANIFEST_UNKNOWN", "NAME_INVALID"])
def test_own_words(code: str) -> None:
    """A tag is told like a path, and a bad name as it is."""
    said = judge(replace(UNKNOWN, code=code, message="it is not good"))
    assert said
    assert said.sentence == "it is not good"
    assert judge(replace(UNKNOWN, code=code)) is None


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"OCI index found, but accept header does not support OCI indexes", "index"),
        (b"OCI manifest found, but accept header does not support", "manifest"),
    ],
)
def test_unaccepted_type(body: bytes, what: str) -> None:
    """The client is told which type it lacks."""
    said = judge(replace(ABSENT, body=body, request={"accept": "text/plain"}))
    assert said
    assert said.cause is Cause.MANIFEST
    assert f"has an OCI {what} there; the client accepts text/plain alone" in (
        said.sentence
    )


@pytest.mark.parametrize("status", [406, 415])
def test_refused_type(status: int) -> None:
    """Other registries say it by the status."""
    said = judge(replace(ABSENT, status=status))
    assert said
    assert "a manifest of another type there; the client accepts no type" in (
        said.sentence
    )


@pytest.mark.parametrize(
    ("seen", "cause", "words"),
    [
        (
            ABSENT,
            Cause.MANIFEST,
            "the API api.example says that the image of org/app/1",
        ),
        (
            replace(ABSENT, reference="sha256:abababababab"),
            *(Cause.MANIFEST, "has no manifest sha256:abababababab where the image"),
        ),
        (
            replace(ABSENT, kind="blob", reference="sha256:abababababab"),
            *(Cause.STORAGE, "has no blob sha256:abababababab where the image of"),
        ),
    ],
    ids=["tag", "digest", "blob"],
)
def test_missing(seen: Evidence, cause: Cause, words: str) -> None:
    """It is told where it should be, with the beginning of the location alone."""
    said = judge(seen)
    assert said
    assert said.cause is cause
    assert words in said.sentence
    assert "v2/567e..." in said.sentence
    assert LOCATION not in said.sentence


@pytest.mark.parametrize(
    "seen",
    [
        replace(ABSENT, method="HEAD"),
        replace(ABSENT, location=""),
        replace(ABSENT, kind="tags"),
        replace(ABSENT, role=None, code=""),
    ],
    ids=["HEAD", "stored name", "tags", "ours"],
)
def test_what_need_not_be_there(seen: Evidence) -> None:
    """Who only asks whether it is there has its answer."""
    assert judge(seen) is None


def test_words_of_the_registry() -> None:
    """A registry that says the same of a list of tags is not taken for the proxy."""
    seen = replace(ABSENT, kind="tags", code="NAME_UNKNOWN", message="not known")
    assert judge(seen) is None
