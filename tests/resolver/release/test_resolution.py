"""An alias is resolved, or refused with a reason, by as few requests as will do."""

import logging
import re
from typing import Any

import pytest

from resolver.errors import (
    AccessDenied,
    Refusal,
    ReleaseUnknown,
    ServiceUnavailable,
    TargetUnknown,
)
from resolver.grammar.credential import parse_authorization
from resolver.grammar.reference import parse_alias
from resolver.release.candidate import Candidates
from resolver.release.resolution import ApiResolver, Resolution, candidates_of
from resolver.upstream.api import Api
from tests.resolver.fake import (
    API,
    HASH,
    LOCATION,
    REGISTRY_HOST,
    SLUG,
    SOON,
    FakeTransport,
    Reply,
    Sent,
    answer,
    basic,
    image_row,
    release_row,
    rows,
    target_row,
    versions_row,
)

KEY = "made-up-key-0123456789"
CREDENTIAL = parse_authorization(basic("u", KEY))
RELEASES, TARGET, NEWEST = "/v7/release?", "should_be_running", "owns__release"
SEVERAL = release_row(
    "1.7.0", 0, image_row("4" * 32, "main"), image_row("5" * 32, "helper")
)
FOREIGN = "registry.elsewhere.example"
DRAFT = "2.0.0-1 1.9.0 1.8.0"
type Row = dict[str, Any]


def resolve(name: str, network: FakeTransport, *hosts: str) -> Resolution:
    """Return what the name stands for, at a registry with these hosts."""
    resolver = ApiResolver(Api(API, network), hosts or (REGISTRY_HOST,))
    return resolver.resolve(parse_alias(name), CREDENTIAL, SOON)


@pytest.mark.parametrize(
    ("name", "reply", "place"),
    [
        ("2.3.8", rows(release_row("2.3.8", 0), release_row()), HASH),
        ("1.7.0/helper", rows(SEVERAL), "5" * 32),
        ("", rows(target_row(release_row())), HASH),
        ("latest/main", rows(target_row(SEVERAL)), "4" * 32),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_resolve(name: str, reply: Reply, place: str) -> None:
    """On the common path one request finds the release, with the client's own key."""
    is_target = not name or "latest" in name
    network = FakeTransport({TARGET if is_target else RELEASES: reply})
    alias = f"{SLUG}/{name}".rstrip("/")
    resolution = resolve(alias, network)
    assert str(resolution.alias) == alias
    assert resolution.location == f"v2/{place}"
    assert [sent.authorization for sent in network.sent] == [f"Bearer {KEY}"]
    # A log shows no more of the location.
    release = resolution.release.raw_version
    assert str(resolution) == f"{release} (commit b4b201f) -> v2/{place[:4]}..."


NONE = "has no release {} that can be pulled{}; its newest is 2.9.3 (target)"
STATUS = "is there, and its build has the status failed"
FAILED = release_row(status="failed")
UNBUILT = release_row("3.0.0", 0, image_row(status="failed"))


@pytest.mark.parametrize(
    ("name", "reply", "words", "requests"),
    [
        ("9.9.9", rows(), NONE.format("9.9.9", ""), 3),
        ("3.0.0", rows(UNBUILT), NONE.format("3.0.0", f": 3.0.0 {STATUS}"), 3),
        ("9", rows(), NONE.format("9", ""), 3),
        ("abcdef0", rows(), NONE.format("abcdef0", ""), 3),
        ("no-version", rows(), NONE.format("no-version", ""), 1),
        ("", rows(target_row(None)), "has no target release that can be pulled;", 2),
        ("", rows(target_row(FAILED)), f"be pulled: 2.3.8+rev2 {STATUS};", 2),
        ("1.7.0", rows(SEVERAL), "has several images: helper, main;", 1),
        ("1.7.0/other", rows(SEVERAL), "has no image service other;", 1),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_no_release(name: str, reply: Reply, words: str, requests: int) -> None:
    """More requests are made only to say what would have worked, and what does not."""
    newest = rows(versions_row("2.9.3"))
    network = FakeTransport({NEWEST: newest, RELEASES: reply, TARGET: reply})
    with pytest.raises(ReleaseUnknown, match=re.escape(words)):
        resolve(f"{SLUG}/{name}".rstrip("/"), network)
    assert len(network.sent) == requests


@pytest.mark.parametrize("tags", [0, 3])
@pytest.mark.parametrize("name", [SLUG, f"{SLUG}/2.3.8", f"{SLUG}/no-version"])
def test_access_is_denied(name: str, tags: int) -> None:
    """An application that the client cannot see does not exist for it (S11)."""
    network = FakeTransport({"": rows()})
    resolver = ApiResolver(Api(API, network), (REGISTRY_HOST,), tags=tags)
    with pytest.raises(AccessDenied, match="private or does not exist"):
        resolver.resolve(parse_alias(name), CREDENTIAL, SOON)


@pytest.mark.parametrize(
    "stored_at",
    [
        *(f"{FOREIGN}/{LOCATION}", f"{REGISTRY_HOST}.{FOREIGN}/{LOCATION}", ""),
        *(f"user@{REGISTRY_HOST}/{LOCATION}", LOCATION, REGISTRY_HOST),
        f"{REGISTRY_HOST}/v2/../{LOCATION}",
    ],
)
def test_image_elsewhere(stored_at: str, caplog: pytest.LogCaptureFixture) -> None:
    """An image in another registry is refused; the reason is in the log alone (T10)."""
    image = image_row() | {"is_stored_at__image_location": stored_at}
    network = FakeTransport({RELEASES: rows(release_row("1.0.0", 0, image))})
    with pytest.raises(ReleaseUnknown) as caught:
        resolve(f"{SLUG}/1.0.0", network)
    assert HASH not in caught.value.message + caplog.text
    assert FOREIGN not in caught.value.message
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert REGISTRY_HOST in caplog.text
    assert KEY not in caplog.text


def test_registry_may_have_several_names() -> None:
    """The registry's own name counts, as does the host under which it is reached."""
    image = image_row(host="registry2.own.example")
    network = FakeTransport({RELEASES: rows(release_row("1.0.0", 0, image))})
    found = resolve(f"{SLUG}/1.0.0", network, "10.0.0.1:5000", "registry2.own.example")
    assert found.location == LOCATION


@pytest.mark.parametrize("name", [SLUG, f"{SLUG}/2.3.8", f"{SLUG}/no-version"])
@pytest.mark.parametrize("reply", [answer({}, 500), rows({})], ids=["500", "rows"])
def test_failure_is_no_refusal(name: str, reply: Reply) -> None:
    """A failing API is never taken for a missing release (R13)."""
    network = FakeTransport({"": reply})
    with pytest.raises(ServiceUnavailable):
        resolve(name, network)
    assert len(network.sent) == 1


def test_failure_of_the_reason_is_left_out() -> None:
    """The versions are told also where it cannot be asked what is wrong with one."""
    replies = {NEWEST: rows(versions_row("2.9.3")), "semver%20eq": answer({}, 503)}
    network = FakeTransport({**replies, RELEASES: rows()})
    with pytest.raises(ReleaseUnknown, match=re.escape(NONE.format("9.9.9", ""))):
        resolve(f"{SLUG}/9.9.9", network)


def test_failure_of_the_explanation_is_no_refusal() -> None:
    """Where the versions cannot be listed, it is not known whether access is denied."""
    network = FakeTransport({RELEASES: rows(), NEWEST: answer({}, 503)})
    with pytest.raises(ServiceUnavailable):
        resolve(f"{SLUG}/2.3.8", network)


def release(number: int, raw_version: str, *, is_elsewhere: bool = False) -> Row:
    """Return a release as the API shows it, with an image at its number."""
    host = FOREIGN if is_elsewhere else REGISTRY_HOST
    revision = int(raw_version.partition("+rev")[2] or 0)
    image = image_row(f"{number:032x}", host=host)
    return release_row(raw_version, revision, image, id=number, commit=f"{number:032x}")


def select(
    target: Row | None, releases: list[Row], *others: Row
) -> tuple[Candidates, ReleaseUnknown | TargetUnknown | None, list[Sent]]:
    """Return what tags select among, why there is no target, and what was asked."""
    application = rows({**target_row(target), "owns__release": releases})
    network = FakeTransport({NEWEST: application, RELEASES: rows(*others)})
    resolver = ApiResolver(Api(API, network), (REGISTRY_HOST,), tags=3)
    try:
        resolution = resolver.resolve(parse_alias(SLUG), CREDENTIAL, SOON)
    except (ReleaseUnknown, TargetUnknown) as refusal:
        return candidates_of(refusal), refusal, network.sent
    assert resolution.location == resolution.candidates.locations[0]
    return resolution.candidates, None, network.sent


FINALS = [release(n, f"1.{n}.0") for n in (9, 8, 7, 6)]
ELSEWHERE = release(9, "1.9.0", is_elsewhere=True)


@pytest.mark.parametrize(
    ("target", "releases", "found", "is_whole", "requests"),
    [
        (FINALS[0], FINALS[:1], "1.9.0", True, 1),
        (FINALS[2], FINALS[:3], "1.9.0 1.8.0 1.7.0", True, 1),
        (FINALS[2], FINALS, "1.9.0 1.8.0 1.7.0", False, 1),
        (FINALS[3], FINALS, "1.9.0 1.8.0 1.6.0", False, 2),
        (release(1, "1.0.0"), FINALS, "1.9.0 1.0.0+rev1 1.0.0", False, 2),
        # A draft is asked for no more: its raw version means no other release.
        (release(1, "2.0.0-1") | {"revision": None}, FINALS[:3], DRAFT, False, 1),
        (ELSEWHERE, [ELSEWHERE, *FINALS[1:3]], "1.9.0 1.8.0 1.7.0", True, 1),
    ],
)
def test_tags_select_among(
    target: Row, releases: list[Row], found: str, requests: int, *, is_whole: bool
) -> None:
    """The greatest final releases and the target, with one request unless pinned."""
    candidates, refusal, sent = select(
        target, releases, release(2, "1.0.0+rev1"), target
    )
    versions = [row.release.raw_version for row in candidates.rows if row.release]
    assert versions == found.split()
    assert candidates.is_whole == is_whole
    assert len(sent) == requests
    assert "$top=4" in sent[0].url
    assert bool(refusal) == (target is ELSEWHERE)


def test_image_elsewhere_is_a_candidate_that_no_tag_picks() -> None:
    """Where the greatest release is elsewhere, no lesser one stands for it."""
    candidates, _, _ = select(FINALS[1], [ELSEWHERE, *FINALS[1:3]])
    alias = parse_alias(SLUG)
    tags = ("1", "1.9", "1.9.0", "1.8")
    assert [tag for tag in tags if candidates.pick(alias, tag)] == ["1.8"]


@pytest.mark.parametrize(
    ("target", "releases", "error", "message"),
    [
        (None, FINALS[:1], TargetUnknown, "no target release .*; its newest is 1.9.0"),
        (SEVERAL, [SEVERAL], TargetUnknown, "several images: helper, main"),
        (None, [SEVERAL], TargetUnknown, "has no target release"),
        (None, [], ReleaseUnknown, "no target release .*; it offers no version"),
        (ELSEWHERE, [ELSEWHERE], ReleaseUnknown, "is stored in another registry"),
        (None, [ELSEWHERE], ReleaseUnknown, "is stored in another registry"),
        (FAILED, [FAILED], ReleaseUnknown, "has no target release"),
    ],
    ids=str,
)
def test_no_target(
    target: Row | None, releases: list[Row], error: type[Refusal], message: str
) -> None:
    """It is refused by itself where other tags select, and else as a whole."""
    candidates, refusal, _ = select(target, releases)
    assert type(refusal) is error
    assert re.search(message, refusal.message)
    assert bool(len(candidates)) == (error is TargetUnknown)
