"""Tags are listed in the order and in the pages of the OCI specification."""

import json

import pytest

from resolver.content.tag_list import list_tags
from resolver.errors import RequestInvalid
from tests.resolver.fake import ident
from tests.resolver.work import count_calls

TAGS = ["2.3.8", "10.0.0", "latest", "1.0.0-RC1", "1.0.0-rc1", "1.0.0-beta", "Alpha"]
ORDERED = ["1.0.0-beta", "1.0.0-RC1", "1.0.0-rc1", "10.0.0", "2.3.8", "Alpha", "latest"]


def page(query: str, tags: list[str] = TAGS) -> tuple[list[str], str | None]:
    """Return the tags on a page, and what leads to the next one."""
    found = list_tags("org/app", tags, query)
    body = json.loads(found.body)
    assert body["name"] == "org/app"
    return body["tags"], found.link


PAGES = {
    "": (ORDERED, None),
    "n=2": (ORDERED[:2], "n=2&last=1.0.0-RC1"),
    "n=2&last=1.0.0-RC1": (ORDERED[2:4], "n=2&last=10.0.0"),
    "last=10.0.0": (ORDERED[4:], None),
    "n=7": (ORDERED, None),
    "n=6": (ORDERED[:6], "n=6&last=Alpha"),
    "last=2": (ORDERED[4:], None),
    "n=3&last=latest": ([], None),
    "n=0": ([], None),
    "n=0&last=2": ([], None),
    "last=%ff%fe": ([], None),
}


@pytest.mark.parametrize(("query", "expected"), PAGES.items(), ids=ident)
def test_page(query: str, expected: tuple[list[str], str | None]) -> None:
    """`n` tags after `last`, in lexical order; a link where there are more."""
    tags, more = expected
    link = more and f'</v2/org/app/tags/list?{more}>; rel="next"'
    assert page(query) == (tags, link)


def test_nothing_to_list() -> None:
    """An application without tags has an empty list."""
    assert page("n=5", []) == ([], None)


@pytest.mark.parametrize(
    "number", ["-1", "x", "1.5", "٣", "9" * 5000, "+1", " 1"], ids=ident
)
def test_number_of_tags(number: str) -> None:
    """What is no number is refused in words that print."""
    with pytest.raises(RequestInvalid) as refused:
        list_tags("org/app", TAGS, f"n={number}&last=1")
    assert len(refused.value.message) < 200
    assert refused.value.message.isascii()


def test_where_a_page_begins_is_found_at_once() -> None:
    """However long `last` is, it is not read again for each of the tags (T8)."""

    def work(count: int) -> int:
        tags = [f"1.{number}.0" for number in range(count)]
        return count_calls(lambda: page(f"last=1.{'9' * 99}", tags))

    # Each tag is brought into order, and that is all.
    assert work(256) - work(128) <= 3 * 128
