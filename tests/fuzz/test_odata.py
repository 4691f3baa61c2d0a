"""Whatever the API answers, what is pulled is what was asked for, or nothing is."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from resolver.errors import (
    AccessDenied,
    CredentialRejected,
    RateLimited,
    RegistryError,
    ReleaseUnknown,
    ServiceUnavailable,
)
from resolver.grammar.credential import parse_authorization
from resolver.grammar.reference import Alias, Slug, parse_alias
from resolver.grammar.scope import Scope
from resolver.release.resolution import ApiResolver, Resolution
from resolver.upstream.api import Api
from resolver.upstream.transport import Answer
from tests.fuzz.profile import FUZZ
from tests.fuzz.sample import (
    RELEASE,
    RELEASES,
    SOUND,
    answers,
    exchanges,
    linked,
    newest,
    questions,
)
from tests.fuzz.strategy import check_shown, mutated_json
from tests.resolver.fake import (
    API,
    REGISTRY_HOST,
    SLUG,
    SOON,
    FakeTransport,
    answer,
    basic,
    image_row,
    jwt,
)

KEY = "made-up-key-0123456789"
CREDENTIAL = parse_authorization(basic("u", KEY))
LOCATION = re.compile(r"v2/[0-9a-f]{32}(-[0-9]{1,4})?")


OFFERED = [[row] for row in RELEASES if row["raw_version"] in ("2.9.3", "2.3.8+rev2")]
"""The releases of applications that have one, which any refusal names."""


def resolve(
    alias: Alias, found: Answer, target: Answer, versions: Answer
) -> tuple[Resolution | RegistryError, FakeTransport]:
    """Return what comes of the alias if each kind of query is answered alike."""
    api = FakeTransport(
        {"/release?": found, "owns__release": versions, "should_be_running": target}
    )
    resolver = ApiResolver(Api(API, api), (REGISTRY_HOST,))
    try:
        resolution = resolver.resolve(alias, CREDENTIAL, SOON)
    except (AccessDenied, ReleaseUnknown, RateLimited, ServiceUnavailable) as error:
        return error, api
    check_sound(alias, resolution)
    return resolution, api


def resolve_among(
    alias: Alias, rows: list[Any], versions: list[Any]
) -> tuple[Resolution | RegistryError, FakeTransport]:
    """Return the same for sound answers with these releases."""
    payloads = (rows, linked(rows), versions)
    return resolve(alias, *(answer({"d": payload}) for payload in payloads))


def is_meant(alias: Alias, found: Resolution) -> bool:
    """Return whether the selector may mean the release, by design section 3."""
    release, selector = found.release, alias.selector or "latest"
    asked = selector.removeprefix("v").replace("_rev0", "").replace("_", "+", 1)
    plain = release.semver.partition("+")[0].lower()
    is_stable = release.is_final and "-" not in plain
    return (
        selector in ("latest", "pinned")
        or release.raw_version.lower() == asked.removesuffix(".rev0")
        or (release.is_final and plain == asked)
        or (len(selector) >= 7 and release.commit.startswith(selector))
        or (
            is_stable
            and not release.is_invalidated
            and release.is_passing_tests
            and f"{plain}.".startswith(f"{asked.removesuffix('.x')}.")
        )
    )


def check_sound(alias: Alias, found: Resolution) -> None:
    """Fail unless this may be pulled, and is what was asked for (S1 to S8)."""
    assert found.alias == alias
    assert LOCATION.fullmatch(found.location)
    assert found.image.stored_at == f"{REGISTRY_HOST}/{found.location}"
    assert found.image in found.release.images
    assert found.release.status == "success"
    assert {image.status for image in found.release.images} == {"success"}
    assert alias.image_service in (None, found.image.image_service.lower())
    assert alias.image_service or len(found.release.images) == 1
    assert is_meant(alias, found)


@given(exchanges())
@FUZZ
def test_answer_is_a_release_or_an_error(
    exchange: tuple[Alias, Answer, Answer, Answer],
) -> None:
    """No answer is a bug of ours, and no failure is taken for a refusal (R13)."""
    outcome, api = resolve(*exchange)
    url = api.sent[-1].url
    last = next(reply for part, reply in api.replies.items() if part in url)
    assert isinstance(last, Answer)
    if last.status != 200:
        failure = RateLimited if last.status == 429 else ServiceUnavailable
        assert type(outcome) is failure
    elif not isinstance(outcome, ServiceUnavailable):
        rows = json.loads(last.body)["d"]
        assert isinstance(rows, list)
        if isinstance(outcome, Resolution):
            assert outcome.location in json.dumps(rows)
            return
        assert outcome.message.isprintable()
        assert rows == [] or not isinstance(outcome, AccessDenied)
        if "it offers no version" in outcome.message:
            assert rows[0]["owns__release"] not in OFFERED


def names_of(rows: list[Any]) -> set[str]:
    """Return the selectors that mean one of the releases and nothing else."""
    built = [
        row
        for row in rows
        if {image["status"] for link in row["release_image"] for image in link["image"]}
        == {row["status"]}
        == {"success"}
    ]
    versions = {row["raw_version"].replace("+", "_").lower() for row in built}
    return versions | {row["commit"] for row in built}


@given(questions(SOUND), SOUND)
@FUZZ
def test_refusal_tells_no_location(
    question: tuple[Alias, list[Any]], versions: list[Any]
) -> None:
    """A refusal on a sound answer is short, and has neither location nor key (R15)."""
    alias, rows = question
    outcome, api = resolve_among(alias, rows, newest(versions))
    assert {sent.authorization for sent in api.sent} == {f"Bearer {KEY}"}
    if isinstance(outcome, RegistryError):
        assert isinstance(outcome, AccessDenied | ReleaseUnknown)
        stored = re.findall(r"v2/([0-9a-f]{32})", json.dumps(rows))
        check_shown(outcome, KEY, REGISTRY_HOST, *stored)
        if " that can be pulled" in outcome.message:
            assert alias.selector not in names_of(rows)


NAMES = st.from_regex(r"[A-Za-z0-9]{1,3}([._-][A-Za-z0-9]{1,3})?", fullmatch=True)


@given(
    RELEASE.filter(lambda row: row["status"] == "success"),
    st.lists(NAMES, min_size=2, max_size=4, unique_by=str.lower),
    st.sampled_from([None, "latest", "2", "commit", "raw_version"]),
)
@FUZZ
def test_recommended_service_can_be_pulled(
    row: dict[str, Any], services: list[str], selector: str | None
) -> None:
    """What a refusal recommends for a release of several images can be pulled (S8)."""
    images = [image_row(f"{number:032x}", name) for number, name in enumerate(services)]
    release = row | {"release_image": [{"id": 1, "image": [each]} for each in images]}
    asked = selector and str(row.get(selector, selector)).replace("+", "_").lower()
    refusal, _ = resolve_among(Alias(Slug(SLUG), asked), [release], [])
    if selector == "2" and isinstance(refusal, AccessDenied):
        return  # The range finds no such release.
    assert isinstance(refusal, ReleaseUnknown)
    recommendation = parse_alias(refusal.message.rpartition("as in ")[2])
    resolution, _ = resolve_among(recommendation, [release], [])
    assert isinstance(resolution, Resolution)
    assert resolution.release.commit == row["commit"]


@given(
    mutated_json(st.just({"token": jwt()})).map(answer) | answers(st.just([])),
    st.lists(st.builds(Scope, st.text(max_size=5)), max_size=3),
)
@FUZZ
def test_token_of_the_api_is_one(reply: Answer, scopes: list[Scope]) -> None:
    """What the token endpoint says is a token without a suffix, or a failure."""
    network = FakeTransport({f"{API}/auth/v1/token?": reply})
    try:
        token = Api(API, network).token(scopes, "r", CREDENTIAL, SOON)
    except (CredentialRejected, RateLimited, ServiceUnavailable) as error:
        check_shown(error, KEY)
        rejected = {401} if isinstance(error, CredentialRejected) else set()
        assert {reply.status} & {401} == rejected
        return
    assert reply.status == 200
    assert token == json.loads(reply.body)["token"]
    assert re.fullmatch(r"[\x21-\x7d]+", token)
    assert network.sent[0].scopes == [str(scope) for scope in scopes]
