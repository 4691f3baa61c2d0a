"""Decides how a table of releases is written into the suffix of a token, and read.

::

    tables   = { alias: table }
    table    = { "w": 0 | 1,            ; whether the table is whole
                 "s": [ names ],        ; lists of image services
                 "g": [ entry ],        ; the ranked releases, the greatest first
                 "x": [ entry ] }       ; those found exactly
    entry    = [ raw_version, commit, image, revision, state ]
    commit   = base64url of its 16 to 20 bytes, or empty
    image    = number of an entry of the JWT's access list
             | -1 - number of a list in "s", where there are several images
    revision = its number | -1          ; for a draft
    state    = 0..3                     ; 1 invalidated, 2 its tests fail

A location is in the JWT already, so its number does. What anybody writes there leads
to repositories that the JWT names, and the registry still checks the JWT.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from resolver.reference import Location, parse_location
from resolver.release import SUCCESS, Image, Release
from resolver.selector import NUMBER_MAX
from resolver.tag_table import TagEntry, TagTable

_DRAFT = -1
_INVALIDATED, _FAILING = 1, 2
_COMMIT = re.compile(r"(?:[0-9a-f]{2}){16,20}")
_COMMIT_LENGTHS = range(16, 21)
_TEXT_LENGTH_MAX = 255


def write_table(table: TagTable, names: Sequence[object]) -> dict[str, object]:
    """Return the table as it stands in JSON.

    Args:
        table: what is written, without what could not be read again.
        names: the repositories in the JWT's access list.

    """
    numbers = {str(name): number for number, name in enumerate(names)}
    services: list[list[str]] = []
    kept = table.only(lambda entry: _is_readable(entry, numbers))
    ranked = [_write_entry(entry, numbers, services) for entry in kept.ranked]
    exact = [_write_entry(entry, numbers, services) for entry in kept.exact]
    return {"w": int(kept.is_whole), "s": services, "g": ranked, "x": exact}


def read_tables(payload: Any, names: Sequence[object]) -> Mapping[str, TagTable]:
    """Return the tables by their alias.

    Raises:
        ValueError: it is not exactly as `write_table` writes it.

    """
    if not isinstance(payload, dict) or not payload:
        raise ValueError("not the tables of aliases")
    return MappingProxyType(
        {alias: _read_table(table, names) for alias, table in payload.items()}
    )


def _is_readable(entry: TagEntry, numbers: Mapping[str, int]) -> bool:
    release = entry.release
    texts = [release.raw_version]
    if entry.location is None:
        texts += [image.image_service for image in release.images]
    return (
        all(map(_is_text, texts))
        and (release.revision is None or 0 <= release.revision <= NUMBER_MAX)
        and (entry.location is None or entry.location in numbers)
    )


def _write_entry(
    entry: TagEntry, numbers: Mapping[str, int], services: list[list[str]]
) -> list[object]:
    release = entry.release
    if entry.location is None:
        own = sorted(image.image_service for image in release.images)
        if own not in services:
            services.append(own)
        image = -1 - services.index(own)
    else:
        image = numbers[entry.location]
    state = _INVALIDATED * release.is_invalidated
    state += _FAILING * (not release.is_passing_tests)
    revision = _DRAFT if release.revision is None else release.revision
    commit = _write_commit(release.commit)
    return [release.raw_version, commit, image, revision, state]


def _write_commit(commit: str) -> str:
    if not _COMMIT.fullmatch(commit):
        return ""
    return _encode(bytes.fromhex(commit))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _read_table(payload: Any, names: Sequence[object]) -> TagTable:
    match payload:
        case {
            "w": (0 | 1) as whole,
            "s": list(services),
            "g": list(ranked),
            "x": list(exact),
        } if len(payload) == 4:  # noqa: PLR2004
            lists = [_read_services(names_) for names_ in services]
            # The first one counts as the latest, where nothing else decides.
            rows = [*ranked, *exact]
            entries = tuple(
                _read_entry(row, len(rows) - position, names, lists)
                for position, row in enumerate(rows)
            )
            if not all(e.release.is_final for e in entries[: len(ranked)]):
                raise ValueError("a draft is ranked")
            return TagTable(entries[: len(ranked)], entries[len(ranked) :], bool(whole))
    raise ValueError("not the table of an alias")


def _read_entry(
    payload: Any, number: int, names: Sequence[object], services: list[list[str]]
) -> TagEntry:
    match payload:
        case [
            str(raw_version),
            str(commit),
            int(image),
            int(revision),
            (0 | 1 | 2 | 3) as state,
        ] if _DRAFT <= revision <= NUMBER_MAX:
            images, location = _read_images(image, names, services)
            release = Release(
                id=number,
                commit=_read_commit(commit),
                raw_version=_read_text(raw_version),
                semver=_semver(raw_version, revision),
                revision=None if revision == _DRAFT else revision,
                variant="",
                status=SUCCESS,
                is_invalidated=bool(state & _INVALIDATED),
                is_passing_tests=not state & _FAILING,
                images=images,
            )
            return TagEntry(release, location)
    raise ValueError("not a release")


def _semver(raw_version: str, revision: int) -> str:
    """Return the version without its revision; a variant counts as a build part.

    To selection the two are the same: what has either comes after what has none.
    """
    version, _, build = raw_version.partition("+")
    names = [name for name in build.split(".") if name not in ("", f"rev{revision}")]
    return f"{version}+{'.'.join(names)}" if names else version


def _read_images(
    image: int, names: Sequence[object], services: list[list[str]]
) -> tuple[tuple[Image, ...], Location | None]:
    if image < 0:
        if -1 - image >= len(services):
            raise ValueError("no such list of image services")
        several = services[-1 - image]
        return tuple(Image("", name, SUCCESS, None) for name in several), None
    name = names[image] if image < len(names) else None
    location = parse_location(name) if isinstance(name, str) else None
    if location is None:
        raise ValueError("not a location of the JWT")
    return (Image(location, "", SUCCESS, None),), location


def _read_services(payload: Any) -> list[str]:
    match payload:
        case [str(), str(), *_]:
            return [_read_text(name) for name in payload]
    raise ValueError("not several image services")


def _read_commit(text: str) -> str:
    """Return the commit in hex; as it is written, and in no other way."""
    if not text:
        return ""
    data = base64.urlsafe_b64decode(text + "==")
    if len(data) not in _COMMIT_LENGTHS or _encode(data) != text:
        raise ValueError("not a commit")
    return data.hex()


def _read_text(value: object) -> str:
    """Return a text that ends up in messages and in the log."""
    if isinstance(value, str) and _is_text(value):
        return value
    raise ValueError("not a text that prints")


def _is_text(text: str) -> bool:
    return 0 < len(text) <= _TEXT_LENGTH_MAX and text.isascii() and text.isprintable()
