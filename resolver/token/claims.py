"""A token of a client: the JWT's claims, and the suffix that the proxy appends to it.

::

    token = jwt [ "~" suffix ]          ; `resolver.token.suffix`

A client treats a token as opaque, so the suffix travels through all of them and
the proxy keeps no state (design section 5). It needs no signature: the registry
checks the JWT, and only against the location that is asked for.
Claims are read here, never verified, for the same reason.
"""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from resolver.errors import Refusal, TokenInvalid
from resolver.grammar.reference import NAME_LENGTH_MAX, Alias, parse_location
from resolver.grammar.timestamp import format_timestamp
from resolver.release.candidate import Candidate, Candidates
from resolver.token.suffix import (
    LENGTH_MAX,
    MESSAGE_LENGTH_MAX,
    Aliases,
    decode_base64url,
    decode_suffix,
    encode_suffix,
)

SEPARATOR = "~"
"""Allowed in a Bearer token (RFC 6750 section 2.1), never part of a JWT."""
PARSED_MAX = 256
"""Tokens that are remembered as they were read; one is some kilobytes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a client, taken apart."""

    jwt: str = field(repr=False)
    aliases: Aliases

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
        return None if self.aliases.refusals.get(alias) else _claimed(self.jwt, alias)

    def tag_candidates(self, alias: Alias) -> dict[str, Candidates]:
        """Return what the tags of `<org>/<app>` that the token is for stand for."""
        begin = f"{alias}/"
        return {
            name: candidates
            for name, candidates in self.aliases.candidates.items()
            if name.startswith(begin) and "/" not in name[len(begin) :]
        }


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
    if not separator:
        return Token(jwt, Aliases())
    try:
        return Token(jwt, decode_suffix(suffix, _names(jwt)))
    except ValueError as error:
        raise TokenInvalid("the token's list of aliases cannot be read") from error


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
    names, length = _names(jwt), MESSAGE_LENGTH_MAX
    while candidates or refusals:
        suffix = encode_suffix(Aliases(candidates, refusals), names, length)
        if len(suffix) <= LENGTH_MAX:
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


def pullable_names(jwt: str) -> frozenset[str] | None:
    """Return the repositories that may be pulled from, or None where it is no JWT."""
    if not read_payload(jwt):
        return None
    return frozenset(
        str(entry.get("name"))
        for entry in _access(jwt)
        if isinstance(actions := entry.get("actions"), list) and "pull" in actions
    )


def _claimed(jwt: str, alias: str) -> Candidates | None:
    """Return what the API itself resolved when it issued the JWT, if it did."""
    for entry in _access(jwt):
        name = entry.get("name")
        if entry.get("alias") == alias and isinstance(name, str):
            location = parse_location(name)
            if location:
                return Candidates((Candidate(location),))
    return None


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
        payload = json.loads(decode_base64url(parts[1]))
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _time(value: object) -> int | None:
    """Return the seconds of a NumericDate (RFC 7519) of this age of the world."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 1 << 35 else None
