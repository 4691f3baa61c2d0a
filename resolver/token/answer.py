"""What a client is told of the token that the API issued (rule R4)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resolver.errors import Refusal, ReleaseUnknown
from resolver.grammar.client import Client
from resolver.grammar.credential import Credential
from resolver.grammar.payload import parse_payload
from resolver.grammar.reference import parse_alias
from resolver.release.candidate import Candidate, Candidates
from resolver.release.resolution import Resolution, deny
from resolver.token.cache import Lookup
from resolver.token.claims import append_aliases, pullable_names, read_claims
from resolver.token.suffix import Aliases
from resolver.upstream.observer import CacheState

REFUSAL_EXPIRY = 60
"""Seconds; the least that clients take. With the JWT's four hours, a client that keeps
its token would miss a release that was made in the meantime."""
MANY_EXPIRY = 300
"""Seconds; likewise, for what tags select. A name is remembered for as long."""
HEADER_LENGTH_MAX = 8000
"""Bytes of the whole header in which a client sends its token with every request;
nginx, Apache and Node.js among others take 8 kB."""
_HEADER = "Authorization: Bearer "
_BESIDE_LENGTH = 1000
"""Bytes of a JWT for nothing, and of the suffix for a few names."""
_ROW_LENGTH = 190
"""Bytes that one candidate takes, in the JWT and in the suffix."""


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """What the client gets, and what there is to say about it."""

    body: bytes = field(repr=False)
    resolutions: tuple[Resolution, ...]
    refusals: Mapping[str, Refusal]
    states: Mapping[str, CacheState] = field(default_factory=dict)
    """Where the outcome of each name is known from."""
    tagged: Mapping[str, int] = field(default_factory=dict)
    """How many releases the tags of a name select among, if they do."""
    has_tag: bool = False
    """Whether a name was asked for beside its application, as that of a tag is."""
    has_stored: bool = False
    """Whether it is for a name as well that the registry itself knows."""
    is_short: bool = True
    """Whether the token fits into the headers that servers take."""
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    """What clients get beside it."""
    server: str = ""
    """Host of who answered, where that is passed on as it is."""

    @property
    def token(self) -> str:
        """What the client will send with its requests; nothing where there is none."""
        try:
            answer = parse_payload(self.body)
        except ValueError:
            return ""  # Whoever issues tokens may answer anything.
        if not isinstance(answer, dict):
            return ""
        return str(answer.get("token") or answer.get("access_token") or "")

    def refusal_for(self, client: Client) -> Refusal | None:
        """Return what the client is told in place of the token, if anything (R8).

        A token that is good for nothing is refused where the reason is seen best in
        that way. Not for a tag that is unknown: BuildKit keeps the scope of the first
        challenge for the builds that follow, and would never ask for another tag.
        """
        useful = self.resolutions or self.tagged or self.has_stored
        if useful or not self.refusals or not client.asks_with_head:
            return None
        first, *others = self.refusals.values()
        if self.has_tag and isinstance(first, ReleaseUnknown):
            return None
        messages = dict.fromkeys(each.message for each in (first, *others))
        return type(first)("; ".join(messages))


def count_fitting(lists: int) -> int:
    """Return how many candidates of each of so many aliases one header has room for."""
    room = HEADER_LENGTH_MAX - len(_HEADER) - _BESIDE_LENGTH
    return max(1, room // (_ROW_LENGTH * max(1, lists)))


def compose(
    jwt: str,
    lookups: Mapping[str, Lookup],
    candidates: Mapping[str, Candidates],
    credential: Credential,
    *,
    has_tag: bool,
    has_stored: bool,
) -> TokenAnswer:
    """Return the answer; what the API resolved but does not grant is refused.

    Only the token endpoint decides on permission (design section 8).

    Args:
        jwt: what the API issued.
        lookups: what each name came to.
        candidates: those of each name that the token was asked for.
        credential: what the client proved itself with.
        has_tag: whether a name was asked for beside its application.
        has_stored: whether the token is for names that the registry itself knows.

    """
    names = pullable_names(jwt)
    resolutions: list[Resolution] = []
    refusals: dict[str, Refusal] = {}
    entries: dict[str, Candidates] = {}
    for name, lookup in lookups.items():
        outcome, rows = lookup.outcome, candidates[name]
        if names is None and isinstance(outcome, Resolution):
            # It is no JWT, so there is no list of names for rows to point into.
            rows = Candidates((Candidate(outcome.location),))
        elif names is not None:
            rows = rows.keep(lambda row: row.location is None or row.location in names)
        if candidates[name].locations and not rows.locations:
            refusals[name] = deny(parse_alias(name).slug, credential)
            continue
        if len(rows):
            entries[name] = rows
        if isinstance(outcome, Refusal):
            refusals[name] = outcome
        else:
            resolutions.append(outcome)
    aliases = Aliases(entries, refusals)
    token = append_aliases(jwt, aliases)
    many = {name: len(c) for name, c in entries.items() if not c.is_fixed}
    return TokenAnswer(
        _body(token, jwt, aliases),
        tuple(resolutions),
        # Where other tags select something, it is the target alone that is refused.
        {name: refusal for name, refusal in refusals.items() if name not in entries},
        {name: lookup.state for name, lookup in lookups.items()},
        many,
        has_tag,
        has_stored,
        len(_HEADER) + len(token) <= HEADER_LENGTH_MAX,
    )


def _body(token: str, jwt: str, aliases: Aliases) -> bytes:
    """Return the answer, with what the API leaves out (rule R4)."""
    claims = read_claims(jwt)
    answer: dict[str, Any] = {"token": token, "access_token": token}
    if claims.expires_in is not None:
        longest = claims.expires_in
        if not all(c.is_fixed for c in aliases.candidates.values()):
            longest = MANY_EXPIRY
        if aliases.refusals:
            longest = REFUSAL_EXPIRY
        answer["expires_in"] = min(claims.expires_in, longest)
        answer["issued_at"] = claims.issued_at
    return json.dumps(answer).encode()
