"""Whatever the API answers, what is pulled is what was asked for, or nothing is.

Its answers are those of the measured catalog, changed a little.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localcloud.catalog import Row, load_catalog
from resolver.errors import (
    AccessDenied,
    RateLimited,
    RegistryError,
    ReleaseUnknown,
    ServiceUnavailable,
)
from resolver.grammar.credential import parse_authorization
from resolver.grammar.reference import Alias, Slug
from resolver.grammar.selector import CommitReading, RawVersionReading, VersionReading
from resolver.release import query
from resolver.release.resolution import ApiResolver, Resolution
from resolver.upstream.api import Api
from resolver.upstream.transport import Answer
from tests.fuzz.profile import FUZZ
from tests.fuzz.strategy import JSON, check_shown, mutated, mutated_json
from tests.resolver.fake import (
    API,
    HASH,
    REGISTRY_HOST,
    SLUG,
    SOON,
    FakeTransport,
    answer,
    basic,
)

KEY = "made-up-key-0123456789"
CREDENTIAL = parse_authorization(basic("u", KEY))
LOCATION = re.compile(r"v2/[0-9a-f]{32}(-[0-9]{1,4})?")
CATALOG = load_catalog()
FIELDS = (
    *("id", "commit", "raw_version", "semver", "revision", "variant", "status"),
    *("is_invalidated", "is_passing_tests"),
)


def image_of(number: object) -> dict[str, Any]:
    """Return an image with its service, as a query for releases shows it."""
    image = find("image", number)
    service = find("service", image["is_a_build_of__service"])
    fields = ("id", "status", "is_stored_at__image_location", "content_hash")
    named = [{"service_name": service["service_name"]}]
    return {name: image[name] for name in fields} | {"is_a_build_of__service": named}


def read_releases() -> Iterator[dict[str, Any]]:
    """Yield each release with its images."""
    for row in CATALOG["release"]:
        links = [
            {"id": link["id"], "image": [image_of(link["image"])]}
            for link in CATALOG["release_image"]
            if link["is_part_of__release"] == row["id"]
        ]
        yield {name: row[name] for name in FIELDS} | {"release_image": links}


def find(resource: str, number: object) -> Row:
    """Return that row of the catalog."""
    return next(row for row in CATALOG[resource] if row["id"] == number)


RELEASES = tuple(read_releases())
"""Good and failed ones, finals, drafts, several images: as the API answered them."""
COMPONENT = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
KEYWORDS = st.sampled_from([None, "latest", "1", "2", "2.3", "2.9.x", "v3", "9" * 11])
CUTS = ((5, ""), (3, ""), (3, ".x"), (1, ""), (7, ""), (6, ""))
"""Of a raw version or commit: what else it may be asked for by."""
PIECES = ("v", ".x", "_rev1", "_rev0", "-rc.1", ".0", "9.9.9")
SERVICES = st.sampled_from([None, None, None, "main", "helper", "nope"])
RELEASE = st.integers(0, len(RELEASES) - 1).map(lambda i: deepcopy(RELEASES[i]))
ODDFIELDS = st.dictionaries(
    st.sampled_from(sorted(RELEASES[0])),
    JSON | st.sampled_from(["1.0", "01.2.3", "2.3.8-RC1", "success", HASH, [], {}]),
    max_size=2,
)
SOUND = st.lists(RELEASE, max_size=5)
ODD = st.lists(
    RELEASE | st.builds(lambda row, fields: row | fields, RELEASE, ODDFIELDS),
    max_size=5,
)


@st.composite
def questions(
    draw: st.DrawFn, releases: st.SearchStrategy[list[Any]]
) -> tuple[Alias, list[Any]]:
    """Return a name, and releases of which it may mean one."""
    rows = draw(releases)
    own = [str(row[field]) for row in rows for field in ("raw_version", "commit")]
    cut = [f"{text[:end]}{tail}" for text in own for end, tail in CUTS]
    words = [text.replace("+", "_").lower() for text in [*own, *cut]]
    known = st.sampled_from(words or ["latest"])
    selector = draw(KEYWORDS | known | known | mutated(known, PIECES))
    if selector is None or not COMPONENT.fullmatch(selector):
        return Alias(Slug(SLUG)), rows
    return Alias(Slug(SLUG), selector, draw(SERVICES)), rows


def linked(rows: list[Any]) -> list[Any]:
    """Return the application with the first release as its target."""
    return [{"slug": SLUG, "should_be_running__release": rows[:1]}]


def newest(rows: list[Any]) -> list[Any]:
    """Return the application with the first release as its target, and with all."""
    return [linked(rows)[0] | {"owns__release": rows}]


def answers(rows: st.SearchStrategy[Any]) -> st.SearchStrategy[Answer]:
    """Return answers with the rows, or nearly so, or with anything else."""
    payloads = mutated_json(rows.map(lambda found: {"d": found}))
    texts = mutated(payloads.map(json.dumps), ('"', "[", "{", "9" * 5000, "\0"))
    sound, nearly = rows.map(lambda found: answer({"d": found})), payloads.map(answer)
    return st.one_of(
        *(sound, sound, sound, nearly, nearly, nearly),
        JSON.map(answer),
        JSON.map(lambda found: answer({"d": found})),
        texts.map(lambda text: Answer(200, {}, text.encode())),
        st.builds(answer, payloads, st.sampled_from([204, 401, 404, 429, 500])),
        st.just(Answer(200, {}, b"[" * 12000)),
    )


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Alias, Answer, Answer, Answer]:
    """Return a name, and what the API answers to the queries for it."""
    alias, rows = draw(questions(ODD))
    found = draw(answers(st.just(rows)))
    target, versions = answers(st.just(linked(rows))), answers(SOUND.map(newest))
    return alias, found, draw(target), draw(versions)


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


@given(questions(SOUND), SOUND)
@FUZZ
def test_refusal_tells_no_location(
    question: tuple[Alias, list[Any]], versions: list[Any]
) -> None:
    """A refusal on a sound answer is short, and has neither location nor key (R15)."""
    alias, rows = question
    payloads = (rows, linked(rows), newest(versions))
    outcome, api = resolve(alias, *(answer({"d": payload}) for payload in payloads))
    assert {sent.authorization for sent in api.sent} == {f"Bearer {KEY}"}
    if isinstance(outcome, RegistryError):
        assert isinstance(outcome, AccessDenied | ReleaseUnknown)
        stored = re.findall(r"v2/([0-9a-f]{32})", json.dumps(rows))
        check_shown(outcome, KEY, REGISTRY_HOST, *stored)


INJECTION = "1' or status eq 'failed') or startswith(commit,'"
READINGS = (VersionReading, RawVersionReading, CommitReading)
OUTSIDE = re.compile(r"[A-Za-z0-9_$?&=,;:()/%-]*")


def skeleton(text: str) -> str:
    """Return a query without what its literals say."""
    return re.sub(r"'[^']*'", "''", text)


@given(st.text("'%() ,;a") | st.just(INJECTION))
@FUZZ
def test_user_words_stay_in_literals(text: str) -> None:
    """Whatever a user writes changes the literals of a query and nothing else."""
    word = "a" if text.upper() != text else "1"
    skeletons = [
        [
            skeleton(query.releases(Slug(slug), [kind(each) for kind in READINGS])),
            skeleton(query.target_release(Slug(slug))),
            skeleton(query.greatest_releases(Slug(slug), 9)),
        ]
        for slug, each in ((SLUG, word), (text, text))
    ]
    assert skeletons[0] == skeletons[1]
    assert OUTSIDE.fullmatch(skeletons[0][0].replace("''", ""))
