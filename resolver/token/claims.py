"""A token of a client: the JWT's claims, and the suffix that the proxy appends to it.

::

    token = jwt [ "~" suffix ]          ; `resolver.token.suffix`

A client treats a token as opaque, so the suffix travels through all of them and
the proxy keeps no state (design section 5). It needs no signature: the registry
checks the JWT, and only against the location that is asked for.
Claims are read here, never verified, for the same reason. Whatever a client sends is
read once, when it shows the token first: a pull shows it often.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cachetools import LRUCache, cached

from resolver.errors import Refusal, TokenInvalid
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import (
    NAME_LENGTH_MAX,
    Alias,
    Location,
    parse_location,
)
from resolver.grammar.timestamp import format_timestamp, read_seconds
from resolver.release.candidate import Candidate, Candidates
from resolver.token.suffix import (
    LENGTH_MAX,
    MESSAGE_LENGTH_MAX,
    ROWS_MAX,
    Aliases,
    decode_base64url,
    decode_suffix,
    encode_suffix,
)
from resolver.upstream.api import TOKEN_LENGTH_MAX

SEPARATOR = "~"
"""Allowed in a Bearer token (RFC 6750 section 2.1), never part of a JWT."""
PARSED_SIZE_MAX = 4 << 20
"""Bytes of tokens that are remembered as they were read; one takes some 30 kB."""
READ_LENGTH_MAX = TOKEN_LENGTH_MAX + len(SEPARATOR) + LENGTH_MAX
"""Characters of a token with its suffix, as the longest that is issued here has."""
_SIGN_LENGTH_MIN, _SIGNS_SPARE = 8, 64
"""Bytes of a payload for each sign with which a value of JSON begins, of which an
entry of an access list has six in 85, and how many signs there may be beside those.
Thousands of small values take many times as long as the bytes that they are made of."""
_TOKEN_SIZE, _CLAIM_SIZE, _CHARACTER_SIZE_MAX = 2000, 300, 4
"""Bytes in memory: of a token with nothing in it, of an alias that it claims, and of a
character of the texts in the suffix."""


_INNER = re.compile(r"eyJ[\w-]+\.[\w-]+\.", re.ASCII)
"""The beginning of a JWT: its header is an object of JSON."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a client, taken apart."""

    jwt: str = field(repr=False)
    aliases: Aliases = field(default_factory=Aliases)
    claimed: Mapping[str, Location] = field(default_factory=dict)
    """What the API itself resolved when it issued the JWT."""
    has_access: bool = False
    """Whether there is an access list in the JWT, as a registry's has one."""
    has_inner_token: bool = False
    """Whether a claim is, or begins with, another token with its signature."""
    is_readable: bool = True
    """Whether the suffix is exactly as we write it."""
    size: int = field(default=0, repr=False, compare=False)
    """How many bytes of memory it takes at most."""

    def refusal(self, alias: str) -> Refusal | None:
        """Return why the alias was refused as the token was issued, if it was (R8)."""
        refusal = self.aliases.refusals.get(alias)
        # It may be raised again, and must not keep who met it before.
        return refusal and refusal.with_traceback(None)

    def candidates(self, alias: str) -> Candidates | None:
        """Return what the alias can stand for, by the suffix or by the JWT's claims."""
        if alias in self.aliases.candidates:
            return self.aliases.candidates[alias]
        # What was refused here counts more than what the API claims (R8).
        location = None if self.refusal(alias) else self.claimed.get(alias)
        return Candidates((Candidate(location),)) if location else None

    def tag_candidates(self, alias: Alias) -> dict[str, Candidates]:
        """Return what the tags of `<org>/<app>` that the token is for stand for."""
        begin = f"{alias}/"
        return {
            name: candidates
            for name, candidates in self.aliases.candidates.items()
            if name.startswith(begin) and "/" not in name[len(begin) :]
        }


_UNREAD = Token("", is_readable=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims that a client is told beside the token (rule R4)."""

    issued_at: str | None
    """RFC 3339."""
    expires_in: int | None
    """Seconds from `issued_at` on."""


def parse_token(text: str) -> Token:
    """Return the token with its suffix read.

    Raises:
        TokenInvalid: there is a suffix, and it is not exactly as we write it; or it is
            longer than any that is issued here.

    """
    token = read_token(text)
    if len(text) > READ_LENGTH_MAX:
        raise TokenInvalid(
            f"the token is longer than the {READ_LENGTH_MAX} characters that one may"
            " have; a client gets another by itself, so try again, or log out and in"
        )
    if not token.is_readable:
        raise TokenInvalid("the token's list of aliases cannot be read")
    return token


def read_token(text: str) -> Token:
    """Return of the token what can be read; nothing of one that is too long."""
    return _UNREAD if len(text) > READ_LENGTH_MAX else _read(text)


@cached(LRUCache(PARSED_SIZE_MAX, getsizeof=lambda token: token.size))
def _read(text: str) -> Token:
    jwt, separator, suffix = text.partition(SEPARATOR)
    payload = read_payload(jwt)
    access = payload.get("access")
    entries = _entries(access)
    claimed = _claimed(entries)
    aliases, is_readable = Aliases(), True
    if separator:
        try:
            aliases = decode_suffix(suffix, _names(entries))
        except ValueError:
            is_readable = False
    size = _TOKEN_SIZE + sys.getsizeof(text) + sys.getsizeof(jwt)
    size += (
        _CHARACTER_SIZE_MAX * len(suffix) + aliases.size + _CLAIM_SIZE * len(claimed)
    )
    return Token(
        jwt,
        aliases,
        MappingProxyType(claimed),
        has_access=isinstance(access, list),
        has_inner_token=any(map(_is_token, payload.values())),
        is_readable=is_readable,
        size=size,
    )


def append_aliases(jwt: str, aliases: Aliases) -> str:
    """Return the JWT with the aliases appended, within `suffix.LENGTH_MAX`.

    Where they do not fit, messages of refusals are left out first, the ends of long
    lists and the last aliases after that: a client asks again for what its token does
    not carry (R7).
    """
    candidates = dict(aliases.candidates)
    # A longer name stands in no path, and would be refused in the suffix as well.
    refusals = {
        alias: refusal
        for alias, refusal in aliases.refusals.items()
        if len(alias) <= NAME_LENGTH_MAX
    }
    names, length = _names(_access(jwt)), MESSAGE_LENGTH_MAX
    while candidates or refusals:
        suffix = encode_suffix(Aliases(candidates, refusals), names, length)
        count = sum(len(c) for c in candidates.values() if not c.is_fixed)
        if len(suffix) <= LENGTH_MAX and count <= ROWS_MAX:
            return jwt + SEPARATOR + suffix
        longest = max(map(len, candidates.values()), default=0)
        if length and refusals:
            length //= 2
        elif longest > 1:
            candidates = {a: c.cut(longest // 2) for a, c in candidates.items()}
        else:
            (refusals or candidates).popitem()
    return jwt


def read_claims(jwt: str) -> Claims:
    """Return what the JWT says of its time; nothing where it says nothing."""
    payload = read_payload(jwt)
    issued, expires = _time(payload.get("iat")), _time(payload.get("exp"))
    if issued is None or expires is None:
        return Claims(issued_at=None, expires_in=None)
    return Claims(format_timestamp(issued), expires_in=expires - issued)


def read_expiry(jwt: str) -> int | None:
    """Return when the JWT is over, in seconds since the epoch, if it says so."""
    return _time(read_payload(jwt).get("exp"))


def pullable_names(jwt: str) -> frozenset[str] | None:
    """Return the repositories that may be pulled from, or None where it is no JWT."""
    if not read_payload(jwt):
        return None
    return frozenset(
        str(entry.get("name"))
        for entry in _access(jwt)
        if isinstance(actions := entry.get("actions"), list) and "pull" in actions
    )


def _claimed(entries: Iterable[dict[str, Any]]) -> dict[str, Location]:
    """Return the aliases that an access list has; each is what it stands for first."""
    claimed: dict[str, Location] = {}
    for entry in entries:
        alias, name = entry.get("alias"), entry.get("name")
        if isinstance(alias, str) and isinstance(name, str) and alias.isascii():
            location = parse_location(name)
            if location:
                claimed.setdefault(alias, location)
    return claimed


def _access(jwt: str) -> list[dict[str, Any]]:
    """Return the JWT's access list, without what is no entry of one."""
    return _entries(read_payload(jwt).get("access"))


def _entries(access: object) -> list[dict[str, Any]]:
    entries = access if isinstance(access, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def _names(entries: Iterable[dict[str, Any]]) -> list[object]:
    """Return the repositories in an access list, as they are numbered."""
    return [entry.get("name") for entry in entries]


def read_payload(jwt: str) -> dict[str, Any]:
    """Return the JWT's claims unverified, or nothing where it is no JWT."""
    parts = jwt.split(".") if len(jwt) <= TOKEN_LENGTH_MAX else ()
    if len(parts) != 3:  # noqa: PLR2004 - header, payload, signature: RFC 7515
        return {}
    try:
        text = decode_base64url(parts[1])
        signs_max = _SIGNS_SPARE + len(text) // _SIGN_LENGTH_MIN
        payload = parse_payload(text, signs_max)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _is_token(value: object) -> bool:
    return isinstance(value, str) and _INNER.match(value) is not None


def _time(value: object) -> int | None:
    """Return the seconds of a NumericDate (RFC 7519) of this age of the world."""
    seconds = read_seconds(value)
    return None if seconds is None else int(seconds)
