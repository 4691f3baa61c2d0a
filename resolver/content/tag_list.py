"""Lists of tags, by pages: the tags of an application as a client gets them.

The OCI specification wants tags "in lexical order (i.e. case-insensitive alphanumeric
order)", so they are not in that of versions; tools that show versions sort by
themselves. `n`, `last` and the ``Link`` header (RFC 8288) are those of
https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
"""

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from resolver.errors import RequestInvalid
from resolver.grammar.reference import shorten

_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class TagPage:
    """A part of the list, or all of it."""

    body: bytes
    link: str | None
    """What leads to the next page, if there is one."""


def list_tags(name: str, tags: Iterable[str], query: str) -> TagPage:
    """Return the page that the query asks for.

    Args:
        name: the repository, as the client knows it.
        tags: all of its tags, in any order.
        query: the part of the path behind `?`.

    Raises:
        RequestInvalid: `n` is no number.

    """
    parameters = parse_qs(query, errors="replace")
    count = _read_count(parameters["n"][0]) if "n" in parameters else None
    last = parameters.get("last", [""])[0]
    ordered = sorted(tags, key=_order)
    after = ordered[bisect_right(ordered, _order(last), key=_order) :]
    page = after[:count]
    link = None
    if page and len(page) < len(after):
        more = urlencode({"n": count, "last": page[-1]})
        # Relative to the host, so that it leads to wherever the client found us.
        link = f'</v2/{name}/tags/list?{more}>; rel="next"'
    body = json.dumps({"name": name, "tags": page}).encode()
    return TagPage(body, link)


def _order(tag: str) -> tuple[str, str]:
    return tag.lower(), tag


def _read_count(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX:
        return int(text)
    raise RequestInvalid(f"{shorten(text)} is no number of tags: n is one, as in n=10")
