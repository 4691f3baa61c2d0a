"""The view of the API's answer about releases: a row for each image.

An answer has the fields that were asked for, and a view shows what there is, also where
the resolver refuses it or leaves it out. So it is read here, and nothing is taken for
granted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any

from mitm.story.kind import OwnKind
from mitm.story.record import COMMIT_LENGTH
from mitm.view.body import Body, View
from mitm.view.line import ROWS_MAX, cell, counted, first, rest, shown, table
from resolver.grammar.reference import brief_location

_ROWS = re.compile(rb'"d"\s*:\s*\[')
_COLUMNS = (
    *("version", "revision", "commit", "state", "status"),
    *("service", "image", "location", "digest"),
)
_DIGEST_LENGTH = 12
_LINKS = {"should_be_running__release": "target release", "owns__release": "release"}
"""How an application refers to releases, and what those are."""
_UNASKED = "its releases were not asked for"

type _Row = tuple[str, ...]


class ReleaseView(View):
    """What the API answers to a query for releases, or for an application's."""

    name = "registry releases"

    def fits(self, body: Body) -> bool:
        """Return whether the proxy asked the API for releases, and got an answer."""
        return (
            body.kind == OwnKind.RESOLUTION
            and body.status == HTTPStatus.OK
            and body.is_object
            and bool(_ROWS.search(body.data))
        )

    def describe(self, body: Body) -> list[str]:
        """Return a table of all releases, or one for each application."""
        found = body.read_object().get("d")
        if not isinstance(found, list):
            raise ValueError("no answer to a query")  # noqa: TRY004 - see View
        path = body.flow.request.path.partition("?")[0] if body.flow else ""
        if path.endswith("/application") or any(map(_links, first(found))):
            return _applications(found)
        if not found:
            return ["no release: none fits, or the key may not see the application"]
        return _releases("", "release", found)


def _applications(rows: Sequence[object]) -> list[str]:
    if not rows:
        return ["no application: it does not exist, or the key may not see it"]
    lines: list[str] = []
    for row in first(rows):
        prefix = f"{_cell(_at(row, 'slug')) or 'application'}: "
        lines += [""] if lines else []
        links = _links(row)
        for link in links:
            releases = _at(row, link)
            if isinstance(releases, list):
                lines += _releases(prefix, _LINKS[link], releases)
            else:
                lines.append(prefix + shown(releases))
        lines += [] if links else [prefix + _UNASKED]
    return [*lines, *rest(rows)]


def _links(row: object) -> list[str]:
    """Return by which fields an application refers to releases."""
    return [name for name in _LINKS if isinstance(row, dict) and name in row]


def _releases(prefix: str, noun: str, releases: Sequence[object]) -> list[str]:
    if not releases:
        return [f"{prefix}no {noun}"]
    rows = list(islice(_rows(releases), ROWS_MAX + 1))
    # What was not asked for has no column.
    used = [n for n in range(len(_COLUMNS)) if any(row[n] for row in rows)]
    hosts = dict.fromkeys(row[-1] for row in rows if row[-1])
    return [
        prefix + counted(len(releases), noun),
        *table(
            [_COLUMNS[n] for n in used], [[row[n] for n in used] for row in first(rows)]
        ),
        *(["  ... and more"] if len(rows) > ROWS_MAX else []),
        *([f"  stored at {', '.join(hosts)}"] if hosts else []),
    ]


def _rows(releases: Iterable[object]) -> Iterator[_Row]:
    """Yield a row for each image, the first with its release; the host comes last."""
    for release in releases:
        own, blank = _release(release), ("",) * 5
        links = _at(release, "release_image")
        if isinstance(links, list) and links:
            for link in links:
                yield (*own, *_image(link))
                own = blank
        else:
            nothing = "none" if links == [] else _cell(links)
            yield (*own, nothing, "", "", "", "")


def _release(release: object) -> _Row:
    if not isinstance(release, dict):
        return (cell(release), "", "", "", "")
    return (
        _cell(release.get("raw_version")),
        _cell(release.get("revision")),
        _cell(_begin(release.get("commit"), COMMIT_LENGTH)),
        _state(release),
        _cell(release.get("status")),
    )


def _state(release: dict[str, Any]) -> str:
    words = []
    if "is_final" in release or "revision" in release:
        is_final = release.get("is_final", release.get("revision") is not None)
        words.append("final" if is_final else "draft")
    if release.get("is_invalidated"):
        words.append("invalidated")
    if not release.get("is_passing_tests", True):
        words.append("tests fail")
    return ", ".join(words)


def _image(link: object) -> _Row:
    image = _at(link, "image", 0)
    if not isinstance(image, dict):
        return (cell(link), "", "", "", "")
    stored_at = _at(image, "is_stored_at__image_location")
    digest = _at(image, "content_hash")
    if isinstance(digest, str):
        digest = digest.removeprefix("sha256:")
    host, _, name = (
        stored_at.partition("/") if isinstance(stored_at, str) else ("",) * 3
    )
    return (
        _cell(_at(image, "is_a_build_of__service", 0, "service_name")),
        _cell(_at(image, "status")),
        brief_location(name) or _cell(stored_at),
        _cell(_begin(digest, _DIGEST_LENGTH)),
        _cell(host or None),
    )


def _at(value: Any, *path: str | int) -> Any:
    """Return what stands there, or None where nothing does."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _begin(value: object, length: int) -> object:
    return value[:length] if isinstance(value, str) else value


def _cell(value: object) -> str:
    return "" if value is None else cell(value)
