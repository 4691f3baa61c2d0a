"""Queries beyond the recorded ones: what they find, and how they fail."""

from typing import Any
from urllib.parse import quote

import pytest

from localcloud import LocalCloud
from tests.localcloud.client import ask

# What the grammar wants literal, and what is encoded already.
KEPT = "?$=&()/:;,'*%"


def get(cloud: LocalCloud, query: str, key: str = "") -> Any:
    """Return what a readable query finds, spaces encoded on the way."""
    headers = {"Authorization": f"Bearer {cloud.keys[key]}"} if key else {}
    answer = ask(cloud.api_url, f"/v7/{quote(query, safe=KEPT)}", headers)
    assert answer.status == 200, answer.body
    return answer.json["d"]


FILTERS = {
    "id eq 1 or (id eq 2 and is_final eq false)": [1],
    "(id eq 1 or id eq 2) and semver eq '1.6.0'": [2],
    "is_final eq false": [9, 19, 24, 31],
    "semver_prerelease eq 'RC1'": [41],
    "semver_prerelease eq 'rc1'": [],
    "tolower(semver_prerelease) eq 'rc1'": [41],
    "startswith(tolower(raw_version),'2.0.0-rc1')": [41],
    "startswith(raw_version,'2.3_')": [],
    "startswith(raw_version,'2.3%25')": [],
    "raw_version eq '2.3.8%2Brev1'": [29],
    "belongs_to__application/any(a:a/slug eq 'otherorg%2Ftracker')": [38, 39],
    "commit eq 'it%27%27s' or id eq 1": [1],
    "commit eq '%28%2C%3A%3B%26 or id eq 2' or id eq 1": [1],
    "commit eq '(,:;& or id eq 2' or id eq 1": [1],
}


@pytest.mark.parametrize("condition", FILTERS)
def test_filter(measured: LocalCloud, condition: str) -> None:
    """A condition finds these releases, with text that is only text in literals."""
    query = f"release?$select=id&$orderby=id asc&$filter={condition}"
    assert get(measured, query) == [{"id": number} for number in FILTERS[condition]]


ORDERS = {
    "application?$select=id&$orderby=slug asc&$top=2": [1, 7],
    "application?$select=id&$top=0": [],
    "release?$select=id&$orderby=revision desc,id asc&$top=5": [9, 19, 24, 31, 30],
    "release?$select=id&$orderby=revision asc,id desc&$top=2": [41, 40],
    "release?$select=id&$orderby=semver_major desc,semver_minor desc&$top=2": [38, 39],
}


@pytest.mark.parametrize("query", ORDERS)
def test_order(measured: LocalCloud, query: str) -> None:
    """These rows come, in this order; null is greater than any value."""
    assert get(measured, query) == [{"id": number} for number in ORDERS[query]]


def test_expanded_links(measured: LocalCloud) -> None:
    """Links are arrays, to one and to many, and options apply within."""
    assert get(
        measured,
        "application?$select=id&$filter=id eq 5 or id eq 7&$orderby=id asc&$expand="
        "should_be_running__release($select=raw_version;$expand=belongs_to__application"
        "($select=id)),owns__release($select=id;$filter=startswith(semver,';)')"
        " or id eq 39;$top=1;$orderby=id asc)",
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


@pytest.mark.parametrize(
    "query",
    [
        "",
        "release?$top=1",
        "release?$select=id,,commit",
        "release?$select%3Did",
        "release?$select=i%64",
        "release?$select=id&$unheard=1",
        "release?$select=id&$orderby=id up",
        "release?$select=id&$expand=release_image($select=id",
        "release?$select=id&$expand=release_image(select=id)",
        "release?$select=id&$expand=release_image($select=id%3B$top=1)",
        "release?$select=id&$filter=(id eq 1",
        "release?$select=id&$filter=id lt 1",
        "release?$select=id&$filter=commit eq 'it%27s'",
        "release?$select=id&$filter=startswith%28commit,'1')",
        "release?$select=id&$filter=startswith(commit%2C'1')",
        "release?$select=id&$filter=belongs_to__application/any(a%3Aa/slug eq 'x')",
    ],
)
def test_malformed(measured: LocalCloud, query: str) -> None:
    """A URL that does not follow the grammar gets 400, and is repeated."""
    target = f"/v7/{quote(query, safe=KEPT)}"
    answer = ask(measured.api_url, target)
    assert (answer.status, answer.json) == (400, f"Malformed url: '{target}'")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("release?$select=id&$filter=nofield eq 1", 500),
        ("release?$select=id&$expand=nolink($select=id)", 500),
        ("release?$select=id&$filter=nolink/any(a:a/id eq 1)", 500),
        ("organization?$select=id", 401),
    ],
)
def test_refusal(measured: LocalCloud, query: str, status: int) -> None:
    """What does not exist gets the API's status, and no words."""
    answer = ask(measured.api_url, f"/v7/{quote(query, safe=KEPT)}")
    assert (answer.status, answer.body) == (status, b"")
