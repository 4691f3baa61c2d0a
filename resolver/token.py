"""Decides what a token says: the JWT's claims, and the aliases that we append to it.

::

    token  = jwt [ "~" suffix ]
    suffix = base64url( JSON )          ; without padding, 4096 characters at most
    JSON   = { "v": 1 | 2,
               "a": { alias: location },
               "r": { alias: [ code, message ] },
               "t": tables }            ; in version 2: `resolver.tag_suffix`

A client treats a token as opaque, so the suffix travels through all of them and
the proxy keeps no state (design section 5). It needs no signature: the registry
checks the JWT, and only against the location that is asked for.
Claims are read here, never verified, for the same reason.
Version 2 is written where there are tables, and read where tags select. A proxy that
does not know it, or is not to, takes it for a bad suffix: its client gets a challenge,
and never the image of another tag.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from resolver.errors import REFUSALS, ErrorCode, Refusal, TokenInvalid
from resolver.reference import NAME_LENGTH_MAX, Location, parse_location
from resolver.tag_suffix import read_tables, write_table
from resolver.tag_table import TagTable
from resolver.timestamp import format_timestamp

SEPARATOR = "~"
"""Allowed in a Bearer token (RFC 6750 section 2.1), never part of a JWT."""
SUFFIX_LENGTH_MAX = 4096
"""Characters; a token and its suffix have to fit into one header of 8 kB."""
MESSAGE_LENGTH_MAX = 300
"""Characters of a refusal's message."""
PARSED_MAX = 256
"""Tokens that are remembered as they were read; one is some kilobytes."""
_SUFFIX_VERSION, _TABLE_VERSION = 1, 2
_FIELDS_BESIDE = ((_SUFFIX_VERSION, ()), (_TABLE_VERSION, ("t",)))
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Aliases:
    """What the aliases of a token request came to."""

    locations: Mapping[str, Location] = field(default_factory=dict)
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    tables: Mapping[str, TagTable] = field(default_factory=dict)
    """What the tags of an alias without selector select among."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a client, taken apart."""

    jwt: str = field(repr=False)
    aliases: Aliases

    def location(self, alias: str) -> Location | None:
        """Return the location that the token carries for the alias, if any.

        Raises:
            Refusal: the alias was refused when the token was issued (rule R8).

        """
        if refusal := self.aliases.refusals.get(alias):
            # It may be raised again, and must not keep who met it before.
            raise refusal.with_traceback(None)
        return self.aliases.locations.get(alias) or _claimed_locations(self.jwt).get(
            alias
        )


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that a client is told beside the token (rule R4)."""

    issued_at: str | None
    """RFC 3339."""
    expires_in: int | None
    """Seconds from `issued_at` on."""


@lru_cache(PARSED_MAX)
def parse_token(text: str) -> Token:
    """Return the token with its suffix read; remembered, as a pull shows it often.

    Raises:
        TokenInvalid: there is a suffix, and it is not exactly as we write it.

    """
    jwt, separator, suffix = text.partition(SEPARATOR)
    return Token(jwt, _decode_suffix(jwt, suffix) if separator else Aliases())


def append_aliases(jwt: str, aliases: Aliases) -> str:
    """Return the JWT with the aliases appended, within `SUFFIX_LENGTH_MAX`.

    Where they do not fit, messages of refusals are left out first, the ends of tables
    and the last aliases after that: a client asks again for what its token does not
    carry (R7).
    """
    locations, tables = dict(aliases.locations), dict(aliases.tables)
    # A longer name stands in no path, and would be refused in the suffix as well.
    refusals = {
        alias: refusal
        for alias, refusal in aliases.refusals.items()
        if len(alias) <= NAME_LENGTH_MAX
    }
    length = MESSAGE_LENGTH_MAX
    while locations or refusals or tables:
        suffix = _encode_suffix(jwt, Aliases(locations, refusals, tables), length)
        if len(suffix) <= SUFFIX_LENGTH_MAX:
            return jwt + SEPARATOR + suffix
        if length and refusals:
            length //= 2
        elif tables:
            halves = {alias: table.halved() for alias, table in tables.items()}
            tables = {alias: table for alias, table in halves.items() if len(table)}
        else:
            (refusals or locations).popitem()
    return jwt


def read_claims(jwt: str) -> Claims:
    """Return what the JWT says of its time; nothing where it says nothing."""
    payload = read_payload(jwt)
    issued, expires = _time(payload.get("iat")), _time(payload.get("exp"))
    if issued is None or expires is None:
        return Claims(issued_at=None, expires_in=None)
    return Claims(format_timestamp(issued), expires_in=expires - issued)


def pullable_names(jwt: str) -> frozenset[str] | None:
    """Return the repositories that may be pulled from, or None where it is no JWT."""
    if not read_payload(jwt):
        return None
    return frozenset(
        str(entry.get("name"))
        for entry in _access(jwt)
        if isinstance(actions := entry.get("actions"), list) and "pull" in actions
    )


def _claimed_locations(jwt: str) -> dict[str, Location]:
    """Return the aliases that the API itself resolved when it issued the JWT."""
    claimed: dict[str, Location] = {}
    for entry in _access(jwt):
        alias, name = entry.get("alias"), entry.get("name")
        if isinstance(alias, str) and isinstance(name, str):
            location = parse_location(name)
            if location:
                claimed[alias] = location
    return claimed


def _access(jwt: str) -> list[dict[str, Any]]:
    """Return the JWT's access list, without what is no entry of one."""
    access = read_payload(jwt).get("access")
    entries = access if isinstance(access, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def _names(jwt: str) -> list[object]:
    """Return the repositories in the JWT's access list, as they are numbered."""
    return [entry.get("name") for entry in _access(jwt)]


def read_payload(jwt: str) -> dict[str, Any]:
    """Return the JWT's claims unverified, or nothing where it is no JWT."""
    parts = jwt.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature: RFC 7515
        return {}
    try:
        payload = json.loads(_decode_base64url(parts[1]))
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _time(value: object) -> int | None:
    """Return the seconds of a NumericDate (RFC 7519) of this age of the world."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 1 << 35 else None


def _encode_suffix(jwt: str, aliases: Aliases, message_length: int) -> str:
    payload: dict[str, object] = {
        "v": _TABLE_VERSION if aliases.tables else _SUFFIX_VERSION,
        "a": aliases.locations,
        "r": {
            alias: [refusal.code, refusal.message[:message_length]]
            for alias, refusal in aliases.refusals.items()
        },
    }
    if aliases.tables:
        names = _names(jwt)
        payload["t"] = {
            alias: write_table(table, names) for alias, table in aliases.tables.items()
        }
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def _decode_suffix(jwt: str, suffix: str) -> Aliases:
    """Return the aliases in the suffix; strictly, because anybody can write one."""
    if len(suffix) > SUFFIX_LENGTH_MAX:
        raise TokenInvalid(
            f"the token's list of aliases is longer than {SUFFIX_LENGTH_MAX} characters"
        )
    try:
        payload = json.loads(_decode_base64url(suffix))
        return _read_suffix(payload, jwt)
    except (ValueError, RecursionError) as error:
        raise TokenInvalid("the token's list of aliases cannot be read") from error


def _read_suffix(payload: Any, jwt: str) -> Aliases:
    match payload:
        case {"v": int(version), "a": dict(locations), "r": dict(refusals), **rest} if (
            version,
            tuple(rest),
        ) in _FIELDS_BESIDE:
            tables = read_tables(rest["t"], _names(jwt)) if rest else {}
            for alias in tables:
                _read_alias(alias)
            return Aliases(
                MappingProxyType(
                    {_read_alias(a): _read_location(v) for a, v in locations.items()}
                ),
                MappingProxyType(
                    {_read_alias(a): _read_refusal(v) for a, v in refusals.items()}
                ),
                tables,
            )
    raise ValueError("not the schema of a suffix")


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
            return REFUSALS[ErrorCode(code)](message[:MESSAGE_LENGTH_MAX])
    raise ValueError("not a refusal")


def _decode_base64url(text: str) -> str:
    """Return the text that is encoded; with no other character or padding accepted.

    Raises:
        ValueError: it is not base64url without padding, or not UTF-8.

    """
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    padded = text + "=" * (-len(text) % 4)
    try:
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    return data.decode()
