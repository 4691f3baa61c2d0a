"""Queries beyond the recorded ones: what they find, and how they fail."""

import json
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud import LocalCloud
from localcloud.account import ANONYMOUS
from localcloud.odata.answer import answer_query
from localcloud.odata.error import ODataError
from tests.localcloud.client import ask

# What the grammar wants literal, and what is encoded already.
KEPT = "?$=&()/:;,'*%"


def get(cloud: LocalCloud, query: str, key: str = "") -> object:
    """Return what a readable query finds, spaces encoded on the way."""
    headers = {"Authorization": f"Bearer {cloud.keys[key]}"} if key else {}
    answer = ask(cloud.api_url, f"/v7/{quote(query, safe=KEPT)}", headers)
    assert answer.status == 200, answer.body
    return answer.json["d"]


BLOCK = "belongs_to__application/any(a:a/slug eq 'balenablocks/browser-aarch64')"
FILTERS = [
    ("id eq 28", [28]),
    ("id in (28,29)", [28, 29]),
    ("id in (28)", [28]),
    ("commit in ('ff7b309d21df74b669e3e82d9aa3e0f6','x')", [35]),
    ("not (id gt 1)", [1]),
    ("id lt 3 and id ge 2", [2]),
    ("id le 1 or id eq 41", [1, 41]),
    ("id ne 1 and id lt 3", [2]),
    ("revision eq null", [9, 19, 24, 31]),
    ("revision ne null and id eq 30", [30]),
    ("null eq revision and id lt 10", [9]),
    # The API compares null like a value.
    ("revision ne 0 and id lt 14", [9, 13]),
    ("is_final eq false", [9, 19, 24, 31]),
    ("not is_final", [9, 19, 24, 31]),
    ("is_invalidated and is_final eq true", [11, 15]),
    ("semver_major eq 4.0", [39]),
    ("id eq -1 add 3", [2]),
    ("id mul 2 eq 4", [2]),
    ("semver_prerelease eq 'RC1'", [41]),
    ("semver_prerelease eq 'rc1'", []),
    ("tolower(semver_prerelease) eq 'rc1'", [41]),
    ("toupper(variant) eq 'DEV'", [5]),
    ("startswith(commit,'11E1EE2')", []),
    ("startswith(raw_version,'2.3_')", []),
    ("startswith(raw_version,'2.3%25')", []),
    ("endswith(raw_version,'rev2')", [30]),
    ("contains(raw_version,'build')", [10]),
    ("contains(raw_version,'build') eq true", [10]),
    ("length(commit) eq 40", [27]),
    ("indexof(commit,'1e1ee') eq 1", [28]),
    ("substring(commit,0,4) eq '11e1'", [28]),
    ("substring(commit,36) eq '4567'", [27]),
    ("concat(semver,'!') eq '5.0.0!'", [38]),
    ("trim(' 5.0.0 ') eq semver", [38]),
    ("start_timestamp ge datetime'2022-01-02T17:00:00Z'", [41]),
    ("start_timestamp le datetime'2022-01-01T04:00:00%2B03:00'", [1]),
    ("year(start_timestamp) eq 2022 and day(start_timestamp) eq 1 and id lt 2", [1]),
    ("belongs_to__application eq 5", [38, 39]),
    ("belongs_to__application/slug eq 'otherorg/tracker'", [38, 39]),
    ("belongs_to__application/any(a:a/slug eq 'otherorg/tracker')", [38, 39]),
    ("belongs_to__application/any(a:a eq 5)", [38, 39]),
    ("should_be_running_on__application/any(a:a/is_of__class eq 'app')", [39]),
    (
        "release_image/any(r:r/image/is_a_build_of__service/service_name eq 'helper')",
        [4, 17],
    ),
    ("release_image/any(ri:ri/image/status eq 'running')", [21]),
    ("release_image/all(ri:ri/image/status eq 'success') and id in (6,7,13)", [6]),
    (
        "release_image/any(i:i/is_part_of__release/any(r:r/id eq 28 and i/id eq 29))",
        [28],
    ),
    # `and` and `or` bind alike, from left to right.
    ("id eq 1 or id eq 2 and id eq 2", [2]),
    ("id eq 1 or (id eq 2 and id eq 2)", [1, 2]),
    ("id eq 2 and id eq 2 or id eq 1", [1, 2]),
    ("id in (1,2,3) and (id eq 1 or id eq 2 and id eq 2)", [2]),
    ("commit eq 'it''s'", []),
    ("commit eq '' or id eq 1", [1]),
]


@pytest.mark.parametrize(("condition", "expected"), FILTERS)
def test_filter(measured: LocalCloud, condition: str, expected: list[int]) -> None:
    """A condition finds these releases."""
    query = f"release?$select=id&$orderby=id asc&$filter={condition}"
    assert get(measured, query) == [{"id": number} for number in expected]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("application?$select=id&$orderby=slug asc&$top=2", [1, 7]),
        ("application?$select=id&$orderby=id&$top=2", [7, 6]),
        ("application?$select=id&$orderby=id asc&$top=2&$skip=1", [3, 4]),
        ("application?$select=id&$top=0", []),
        (
            "release?$select=id&$orderby=revision desc,id asc&$top=5",
            [9, 19, 24, 31, 30],
        ),
        ("release?$select=id&$orderby=revision asc,id desc&$top=2", [41, 40]),
        (
            "release?$select=id&$orderby=belongs_to__application/slug,id asc&$top=2",
            [38, 39],
        ),
        ("release(28)?$select=id", [28]),
        ("release(999)?$select=id", []),
        ("application(slug='otherorg/tracker')?$select=id", [5]),
        ("release(commit='x',id=1)?$select=id", []),
        ("release?$select=id&$count=true&$format=json&$top=1&$orderby=id asc", [1]),
    ],
)
def test_order_and_key(measured: LocalCloud, query: str, expected: list[int]) -> None:
    """These rows come, in this order; without a direction it is descending."""
    assert get(measured, query) == [{"id": number} for number in expected]


def test_count(measured: LocalCloud) -> None:
    """A collection can be counted, without what the caller may not see."""
    assert get(measured, "application/$count") == 6
    assert get(measured, "application/$count", "carol") == 7
    assert get(measured, "release/$count?$filter=id lt 5") == 4


def test_links_unexpanded(measured: LocalCloud) -> None:
    """An unexpanded link shows the number of its row, or null."""
    assert get(measured, "application?$select=should_be_running__release,id") == [
        {"should_be_running__release": link and {"__id": link}, "id": number}
        for number, link in [(1, 30), (3, 34), (4, 37), (5, 39), (6, 41), (7, None)]
    ]


def test_links_expanded(measured: LocalCloud) -> None:
    """Expanded links are arrays, to one and to many, and options apply within."""
    assert get(
        measured,
        "application?$select=id&$filter=id in (5,7)&$orderby=id asc&$expand="
        "should_be_running__release($select=raw_version;$expand=belongs_to__application"
        "($select=id)),owns__release($select=id;$filter=contains(raw_version,';)')"
        " or id gt 38;$top=1;$orderby=id asc)",
    ) == [
        {
            "should_be_running__release": [
                {"belongs_to__application": [{"id": 5}], "raw_version": "4.9.9"}
            ],
            "owns__release": [{"id": 39}],
            "id": 5,
        },
        {"should_be_running__release": [], "owns__release": [], "id": 7},
    ]


def test_all_fields_as_measured(measured: LocalCloud) -> None:
    """Without ``$select`` a release has every field, with its JSON types."""
    found = get(measured, "release(10)")
    assert isinstance(found, list)
    assert found[0]["version"]["build"] == ["build", "5"]
    assert found[0]["is_final"] is True
    assert found[0]["belongs_to__application"] == {"__id": 1}
    assert len(found[0]) == 21


@pytest.mark.parametrize("resource", ["release", "release_image", "image", "service"])
def test_private_rows_are_not_there(measured: LocalCloud, resource: str) -> None:
    """What belongs to a private application exists for its members only."""
    own = {"release": 32, "release_image": 33, "image": 32, "service": 3}[resource]
    assert get(measured, f"{resource}({own})") == []
    assert get(measured, f"{resource}({own})", "bob") == []
    assert len(get(measured, f"{resource}({own})", "carol")) == 1  # type: ignore[arg-type]
    assert len(get(measured, f"{resource}({own})", "device")) == 1  # type: ignore[arg-type]


ENCODED = [
    ("release?%24select=id&$filter=id+eq+28", 200),
    ("release?$select=id&$filter=commit%20eq%20%27x%27", 200),
    ("release?$select=id&$filter=commit%20eq%20'%28%2C%2f%3A%3b%3d%26%C3%A9'", 200),
    ("release?$select=id&$filter=commit%20eq%20'a&b;c,d(e'", 200),
    ("release?$select=id&$filter=commit%20eq%20'a%27%27b'", 200),
    ("release?$select=id&$filter=startswith%28commit,'1')", 400),
    ("release?$select=id&$filter=startswith(commit%2C'1')", 400),
    ("release?$select=id&$filter=startswith(commit,'1'%29", 400),
    ("release?$select=id&$filter=belongs_to__application%2Fslug%20eq%20'x'", 400),
    ("release?$select=id&$filter=release_image/any(r%3Ar/id%20eq%201)", 400),
    ("release?$select%3Did", 400),
    ("release?$expand=release_image($select=id%3B$top=1)", 400),
    ("release?$select=i%64", 400),
    ("release?$filter=commit%20eq%20'%FF'", 400),
    ("release?$filter=commit%20eq%20'%", 400),
]


@pytest.mark.parametrize(("target", "status"), ENCODED)
def test_encoding(measured: LocalCloud, target: str, status: int) -> None:
    """Outside string literals little may be encoded, within them everything."""
    answer = ask(measured.api_url, f"/v7/{target}")
    assert answer.status == status
    if status == 400:
        assert answer.json == f"Malformed url: '/v7/{target}'"


BAD = [
    ("release?$filter=id eqq 1", 400),
    ("release?$filter=id EQ 1", 400),
    ("release?$filter=", 400),
    ("release?$filter=(id eq 1", 400),
    ("release?$filter=id eq 1)", 400),
    ("release?$filter=commit eq 'x", 400),
    ("release?$filter=id in ()", 400),
    ("release?$filter=release_image/any()", 400),
    ("release?$filter=release_image/id eq 1", 400),
    ("release?$filter=unheard(id)", 400),
    ("release?$filter=hassubset(id,id)", 400),
    ("release?$filter=created_at gt 2022-01-01", 400),
    ("release?$filter=created_at gt datetime'soon'", 400),
    ("release?$filter=" + "not " * 5000 + "is_final", 400),
    ("release?$top=-1", 400),
    ("release?$top=x", 400),
    ("release?$skip=1.5", 400),
    ("release?$orderby=id up", 400),
    ("release?$orderby=", 400),
    ("release?$select=", 400),
    ("release?$select=id,,commit", 400),
    ("release?$expand=release_image(", 400),
    ("release?$expand=release_image(select=id)", 400),
    ("release?$unheard=1", 400),
    ("release?$select", 400),
    ("release?a=b=c", 400),
    ("release(x)", 400),
    ("release(1)/commit", 400),
    ("", 400),
    ("release?$select=nofield", 500),
    ("release?$filter=nofield eq 1", 500),
    ("release?$orderby=nofield", 500),
    ("release?$expand=nolink", 500),
    ("release?$expand=release_image($select=nofield)", 500),
    ("release?$filter=nolink/any(a:a/id eq 1)", 500),
    ("release(nofield=1)", 500),
    ("application?$expand=organization", 401),
    ("release?$expand=belongs_to__application($expand=organization)&$top=0", 401),
    ("application?$filter=organization/any(o:o/handle eq 'x')", 401),
    ("organization", 401),
    ("sqlite_master", 401),
]


@pytest.mark.parametrize(
    ("query", "status"), BAD, ids=[f"{query[:60]}-{status}" for query, status in BAD]
)
def test_refusal(measured: LocalCloud, query: str, status: int) -> None:
    """A query that cannot be answered gets the API's status, and no traceback."""
    target = f"/v7/{quote(query, safe=KEPT)}"
    answer = ask(measured.api_url, target)
    assert answer.status == status
    body = f"Malformed url: '{target}'" if status == 400 else None
    assert (json.loads(answer.body) if answer.body else None) == body


@pytest.mark.parametrize(
    "literal",
    [
        "' OR 1=1 --",
        "''; DROP TABLE release; --",
        '" OR ""="',
        ":p0",
        "?1",
        "\x00",
        "%' OR '%'='",
    ],
)
def test_injection_in_literal(measured: LocalCloud, literal: str) -> None:
    """SQL in a literal is only text."""
    encoded = quote(literal.replace("'", "''"), safe="")
    target = f"/v7/release?$select=id&$filter=commit%20eq%20'{encoded}'"
    assert ask(measured.api_url, target).json == {"d": []}
    assert get(measured, "release/$count") == 40


@pytest.mark.parametrize(
    "query",
    [
        'release?$select=id"',
        'release?$orderby=id"--',
        'release?$expand=image"',
        'release?$filter=id" eq 1',
        "release?$select=id FROM main.application --",
        "main.application",
        "release?$filter=main.application eq 1",
        'release?$filter=release_image/any(r" x:1 eq 1)',
    ],
)
def test_injection_in_name(measured: LocalCloud, query: str) -> None:
    """SQL in a name is no name."""
    answer = ask(measured.api_url, f"/v7/{quote(query, safe=KEPT)}")
    assert answer.status in {400, 401, 500}
    assert b"private" not in answer.body


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *("id", "commit", "'x'", "%27", "(", ")", ",", "/", ":", ";", "=", "&"),
                *("$filter=", "$select=", "$expand=", "$orderby=", "$top=", "image"),
                *("release_image", "any", "all", " and ", " or ", " eq ", " in "),
                *("not ", "1", "null", "true", "-", "%20", "+", "%", "startswith"),
                *("date", "datetime", "a", "asc", "desc", "é", ".", "\x7f"),
            ]
        ),
        max_size=14,
    )
)
def test_any_query_is_answered_or_refused(
    measured: LocalCloud, pieces: list[str]
) -> None:
    """Whatever the query, the caller gets data or one of the API's refusals."""
    with suppress(ODataError):
        answer_query(measured.database, ANONYMOUS, f"/v7/release?{''.join(pieces)}")
