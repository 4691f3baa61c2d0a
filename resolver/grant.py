"""Decides what a client is told of the token that the API issued (rule R4)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from resolver.cache import Remembered
from resolver.errors import Refusal
from resolver.observer import CacheState
from resolver.resolution import Resolution, denied
from resolver.tag_resolution import TagResolution
from resolver.tag_table import TagTable
from resolver.token import Aliases, append_aliases, pullable_names, read_claims

REFUSAL_EXPIRY = 60
"""Seconds; the least that clients take. With the JWT's four hours, a client that keeps
its token would miss a release that was made in the meantime."""
TABLE_EXPIRY = 300
"""Seconds; likewise, for what tags select. A name is remembered for as long."""


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
    token_length: int = 0
    """Characters."""


def compose(
    jwt: str, found: Mapping[str, Remembered], tables: Mapping[str, TagTable]
) -> TokenAnswer:
    """Return the answer; what the API resolved but does not grant is refused.

    Only the token endpoint decides on permission (design section 8).
    """
    granted = pullable_names(jwt)
    resolutions: list[Resolution] = []
    refusals: dict[str, Refusal] = {}
    targets: dict[str, Refusal] = {}
    carried: dict[str, TagTable] = {}
    for name, remembered in found.items():
        outcome = remembered.outcome
        if isinstance(outcome, TagResolution):
            table = _granted(tables[name], granted)
            if len(table):
                carried[name] = table
            outcome = outcome.target
        if isinstance(outcome, Refusal):
            # Where other tags select something, it is the target alone that is refused.
            (targets if name in carried else refusals)[name] = outcome
        elif granted is None or outcome.location in granted:
            resolutions.append(outcome)
        else:
            refusals[name] = denied(outcome.alias.slug)
    locations = {str(one.alias): one.location for one in resolutions}
    aliases = Aliases(locations, refusals | targets, carried)
    token = append_aliases(jwt, aliases)
    return TokenAnswer(
        _body(token, jwt, aliases),
        tuple(resolutions),
        refusals,
        {name: remembered.state for name, remembered in found.items()},
        {name: len(table) for name, table in carried.items()},
        len(token),
    )


def _granted(table: TagTable, granted: frozenset[str] | None) -> TagTable:
    """Return what of the table the JWT opens, so that it can be written beside it."""
    opened = granted or frozenset()
    return table.only(lambda entry: entry.location is None or entry.location in opened)


def _body(token: str, jwt: str, aliases: Aliases) -> bytes:
    """Return the answer, with what the API leaves out (rule R4)."""
    claims = read_claims(jwt)
    answer: dict[str, Any] = {"token": token, "access_token": token}
    if claims.expires_in is not None:
        longest = claims.expires_in
        if aliases.tables:
            longest = TABLE_EXPIRY
        if aliases.refusals:
            longest = REFUSAL_EXPIRY
        answer["expires_in"] = min(claims.expires_in, longest)
        answer["issued_at"] = claims.issued_at
    return json.dumps(answer).encode()
