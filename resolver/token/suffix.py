"""The suffix of a token: which candidates the aliases have, as text that travels.

::

    suffix     = base64url( JSON )      ; without padding, 4096 characters at most
    JSON       = { "v": 1 | 2,
                   "a": { alias: location | candidates },
                   "r": { alias: [ code, message ] } }
    candidates = { "w": 0 | 1,          ; whether they are all final releases
                   "c": [ row ] }       ; the greatest release first
    row        = [ raw_version, commit, image, revision, flags ]
    commit     = base64url of its 16 to 20 bytes, or empty
    image      = number of an entry of the JWT's access list
               | [ names ]              ; the image services, where no tag picks it
    revision   = its number | -1        ; for a draft
    flags      = 0..3                   ; 1 no range finds it, 2 the target release

A location alone is what every tag means. Version 2 is written where there are rows; a
proxy that does not know it answers with a challenge for a token of its own.
What anybody writes there leads to repositories that the JWT names, and the registry
still checks the JWT. What is read costs little more than its bytes (section 5), and
what is kept of it is known in bytes.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from resolver.errors import REFUSALS, ErrorCode, Refusal
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import NAME_LENGTH_MAX, Location, parse_location
from resolver.grammar.selector import NUMBER_MAX
from resolver.release.candidate import Candidate, Candidates
from resolver.release.release import SUCCESS, Image, Release
from resolver.release.selection import is_offered

LENGTH_MAX = 4096
"""Characters; a token and its suffix have to fit into one header of 8 kB."""
MESSAGE_LENGTH_MAX = 300
"""Characters of a refusal's message."""
MESSAGE_DEFAULT = "the name cannot be pulled; pull it alone to see why"
"""What stands for a message that a full suffix had no room for."""
ROWS_MAX = 64
"""Candidates of all aliases; more than a header has room for as the proxy issues."""
_ENTRY_SIZE, _ROW_SIZE, _IMAGE_SIZE, _REFUSAL_SIZE = 300, 450, 130, 400
"""Bytes in memory, without the texts; what each takes at most."""
_DRAFT = -1
_UNRANGED, _TARGET = 1, 2
_COMMIT = re.compile(r"(?:[0-9a-f]{2}){16,20}")
_TEXT_LENGTH_MAX = 255
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Aliases:
    """What the aliases of a token request came to."""

    candidates: Mapping[str, Candidates] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """Of an alias that has candidates: why none of them is its target release."""

    @property
    def size(self) -> int:
        """How many bytes of memory it takes at most, without the texts in it."""
        rows = [row for each in self.candidates.values() for row in each.rows]
        images = sum(len(row.release.images) for row in rows if row.release)
        return (
            _ENTRY_SIZE * len(self.candidates)
            + _ROW_SIZE * len(rows)
            + _IMAGE_SIZE * images
            + _REFUSAL_SIZE * len(self.refusals)
        )


def encode_suffix(
    aliases: Aliases, names: Sequence[object], message_length: int = MESSAGE_LENGTH_MAX
) -> str:
    """Return the suffix, of whatever length.

    Args:
        aliases: what is written, without candidates that could not be read again.
        names: the repositories in the JWT's access list.
        message_length: how many characters of a refusal's message are written.

    """
    numbers = {str(name): number for number, name in enumerate(names)}
    entries = {
        alias: _write_candidates(candidates, numbers)
        for alias, candidates in aliases.candidates.items()
    }
    has_rows = any(isinstance(entry, dict) for entry in entries.values())
    payload: dict[str, object] = {
        "v": 2 if has_rows else 1,
        "a": entries,
        "r": {
            alias: [refusal.code, refusal.message[:message_length]]
            for alias, refusal in aliases.refusals.items()
        },
    }
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return _encode(text.encode())


def decode_suffix(suffix: str, names: Sequence[object]) -> Aliases:
    """Return the aliases in the suffix; strictly, because anybody can write one.

    Raises:
        ValueError: it is too long, or not exactly as `encode_suffix` writes it.

    """
    if len(suffix) > LENGTH_MAX:
        raise ValueError(f"it is longer than {LENGTH_MAX} characters")
    payload = parse_payload(decode_base64url(suffix))
    match payload:
        case {"v": (1 | 2), "a": dict(entries), "r": dict(refusals)} if (
            len(payload) == 3  # noqa: PLR2004
            and sum(map(_count_rows, entries.values())) <= ROWS_MAX
        ):
            return Aliases(
                MappingProxyType(
                    {
                        _read_alias(alias): _read_candidates(entry, names)
                        for alias, entry in entries.items()
                    }
                ),
                MappingProxyType(
                    {_read_alias(a): _read_refusal(v) for a, v in refusals.items()}
                ),
            )
    raise ValueError("not the schema of a suffix")


def decode_base64url(text: str) -> bytes:
    """Return what is encoded; no other character and no padding is accepted.

    Raises:
        ValueError: it is not base64url without padding.

    """
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    padded = text + "=" * (-len(text) % 4)
    try:
        return base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _write_candidates(
    candidates: Candidates, numbers: Mapping[str, int]
) -> str | dict[str, object]:
    if candidates.is_fixed:
        return str(candidates.rows[0].location)
    # What cannot be read again would leave a gap behind it.
    readable = candidates.keep(lambda row: _write_row(row, numbers) is not None)
    if readable.is_fixed:
        return str(readable.rows[0].location)
    rows = [_write_row(row, numbers) for row in readable.rows]
    return {"w": int(readable.is_whole), "c": rows}


def _write_row(row: Candidate, numbers: Mapping[str, int]) -> list[object] | None:
    release = row.release
    assert release  # noqa: S101 - one that every tag means is alone, and no row
    image: object
    if row.location is None:
        image = sorted(image.image_service for image in release.images)
        texts = [release.raw_version, *image]
    elif row.location in numbers:
        image, texts = numbers[row.location], [release.raw_version]
    else:
        return None
    revision = _DRAFT if release.revision is None else release.revision
    if revision > NUMBER_MAX or not all(map(_is_text, texts)):
        return None
    flags = 0 if is_offered(release) else _UNRANGED
    flags += _TARGET if row.is_target else 0
    is_commit = _COMMIT.fullmatch(release.commit)
    commit = _encode(bytes.fromhex(release.commit)) if is_commit else ""
    return [release.raw_version, commit, image, revision, flags]


def _count_rows(entry: Any) -> int:
    """Return how many there are, before any is read."""
    match entry:
        case {"c": list(rows)}:
            return len(rows)
    return 0


def _read_candidates(entry: Any, names: Sequence[object]) -> Candidates:
    match entry:
        case str(text):
            return Candidates((Candidate(_read_location(text)),))
        case {"w": (0 | 1) as whole, "c": list(rows)} if (
            len(entry) == 2  # noqa: PLR2004
        ):
            return Candidates(
                tuple(
                    # The first one counts as the latest, where nothing else decides.
                    _read_row(row, len(rows) - position, names)
                    for position, row in enumerate(rows)
                ),
                bool(whole),
            )
    raise ValueError("not the candidates of an alias")


def _read_row(row: Any, number: int, names: Sequence[object]) -> Candidate:
    match row:
        case [
            str(raw_version),
            str(commit),
            image,
            int(revision),
            int(flags),
        ] if _DRAFT <= revision <= NUMBER_MAX and 0 <= flags <= _UNRANGED | _TARGET:
            images, location = _read_image(image, names)
            release = Release(
                id=number,
                commit=_read_commit(commit),
                raw_version=_read_text(raw_version),
                semver=_semver(raw_version, revision),
                revision=None if revision == _DRAFT else revision,
                variant="",
                status=SUCCESS,
                is_invalidated=bool(flags & _UNRANGED),
                is_passing_tests=True,
                images=images,
            )
            return Candidate(location, release, bool(flags & _TARGET))
    raise ValueError("not a release")


def _semver(raw_version: str, revision: int) -> str:
    """Return the version without its revision; a variant counts as a build part.

    To selection the two are the same: what has either comes after what has none.
    """
    version, _, build = raw_version.partition("+")
    names = [name for name in build.split(".") if name not in ("", f"rev{revision}")]
    return f"{version}+{'.'.join(names)}" if names else version


def _read_image(
    image: Any, names: Sequence[object]
) -> tuple[tuple[Image, ...], Location | None]:
    match image:
        case [str(), *_]:
            texts = map(_read_text, image)
            return tuple(Image("", name, SUCCESS, None) for name in texts), None
        case int(number) if 0 <= number < len(names):
            location = _read_location(names[number])
            return (Image(location, "", SUCCESS, None),), location
    raise ValueError("neither an image nor several")


def _read_commit(text: str) -> str:
    """Return the commit in hex; as it is written, and in no other way."""
    if not text:
        return ""
    data = decode_base64url(text)
    commit = data.hex()
    if not _COMMIT.fullmatch(commit) or _encode(data) != text:
        raise ValueError("not a commit")
    return commit


def _read_alias(text: str) -> str:
    if len(text) > NAME_LENGTH_MAX:
        raise ValueError("an alias is too long")
    return text


def _read_location(value: object) -> Location:
    location = parse_location(value) if isinstance(value, str) else None
    if location is None:
        raise ValueError("not a location")
    return location


def _read_refusal(value: object) -> Refusal:
    match value:
        # It ends up in the log: a line feed in it would forge a line.
        case [str(code), str(message)] if code in REFUSALS and message.isprintable():
            text = message[:MESSAGE_LENGTH_MAX] or MESSAGE_DEFAULT
            return REFUSALS[ErrorCode(code)](text)
    raise ValueError("not a refusal")


def _read_text(value: object) -> str:
    """Return a text that ends up in messages and in the log."""
    if isinstance(value, str) and _is_text(value):
        return value
    raise ValueError("not a text that prints")


def _is_text(text: str) -> bool:
    return 0 < len(text) <= _TEXT_LENGTH_MAX and text.isascii() and text.isprintable()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")
